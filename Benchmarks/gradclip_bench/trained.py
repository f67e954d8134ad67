"""Gradients of small networks that were really trained, a few seconds, from fixed seeds. They need torch."""

from __future__ import annotations

from functools import cache

import numpy as np

HEAD, EMBEDDING, CONVOLUTION = "head of a language model", "embedding, most rows 0", "convolution after a sigmoid"
VOCABULARY, WIDTH, CONTEXT = 4096, 256, 4
CHANNELS = 340
# And their elements.
KINDS = {HEAD: VOCABULARY * WIDTH, EMBEDDING: VOCABULARY * WIDTH, CONVOLUTION: CHANNELS * CHANNELS * 9}


def gradient(kind: str) -> np.ndarray:
    return _convolution() if kind == CONVOLUTION else _language_model()[kind]


@cache
def _language_model() -> dict[str, np.ndarray]:
    """The next of 4096 words from the four before: trained on a text that it knows by heart in the end, so that its
    softmax is confident and the rows of its head's gradient lie many orders of magnitude apart."""
    import torch

    torch.manual_seed(1)
    # Words as frequent as in a language: the n-th 1/n as often as the first.
    frequency = 1 / torch.arange(1, VOCABULARY + 1, dtype=torch.float64)
    text = torch.multinomial(frequency, 512 + CONTEXT, replacement=True)
    windows = text.unfold(0, CONTEXT + 1, 1)
    model = torch.nn.Sequential(
        torch.nn.Embedding(VOCABULARY, WIDTH), torch.nn.Flatten(), torch.nn.Linear(CONTEXT * WIDTH, WIDTH),
        torch.nn.GELU(), torch.nn.Linear(WIDTH, VOCABULARY, bias=False),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(121):
        batch = windows[torch.randperm(len(windows))[:256]]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch[:, :-1]), batch[:, -1]).backward()
        if step < 120:  # the gradients of the last step stay
            optimizer.step()
    return {HEAD: model[4].weight.grad.numpy(), EMBEDDING: model[0].weight.grad.numpy()}


@cache
def _convolution() -> np.ndarray:
    """Of CHANNELS x CHANNELS filters of 3 x 3 that see what a sigmoid let through: all inputs positive, few near 0."""
    import torch

    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, CHANNELS, 3, padding=1), torch.nn.Sigmoid(),
        torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(CHANNELS * 64, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs, labels = torch.randn(64, 3, 8, 8), torch.randint(10, (64,))
    for step in range(13):
        batch = torch.randperm(64)[:16]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
        if step < 12:
            optimizer.step()
    return model[2].weight.grad.numpy()
