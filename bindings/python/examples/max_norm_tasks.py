"""What max_norm_rule.py trains: five tasks, each with SGD, for a given rate and max_norm."""

from __future__ import annotations

import math
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

HERE = Path(__file__).resolve().parent
TEXT = HERE.parents[1] / "c" / "examples" / "data" / "asyoulik.txt"


@dataclass(frozen=True)
class Task:
    """Something to train with SGD. train(seed, rate, max_norm, steps, log) writes a log."""

    name: str
    pilot_rate: float
    steps: int
    train: Callable[[int, float, float, int, Path], None]


def train_torch(
    model_of: Callable[[], Any],
    losses_of: Callable[[Any, int], Iterator[Any]],
    momentum: float,
) -> Callable[[int, float, float, int, Path], None]:
    """How to train a model of torch: losses_of(model, seed) computes a loss a step."""

    def train(seed: int, rate: float, max_norm: float, steps: int, log: Path) -> None:
        import gradclip
        import torch
        from gradclip.torch import Monitor

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        model = model_of()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
        with (
            warnings.catch_warnings(),
            Monitor(model, max_norm, optimizer=optimizer, log=log) as monitor,
        ):
            warnings.simplefilter("ignore", gradclip.MonitorWarning)
            for _, loss in zip(range(steps), losses_of(model, seed)):
                optimizer.zero_grad()
                loss.backward()
                if monitor.clip_(loss=loss).skip:
                    break
                optimizer.step()

    return train


def digits_losses(model, seed: int):  # type: ignore[no-untyped-def]
    """Batches of 32 of the 1797 digits of 8 by 8 pixels that scikit-learn comes with."""
    import torch
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    targets = torch.tensor(labels)
    random = torch.Generator().manual_seed(seed)
    while True:
        batch = torch.randint(len(images), (32,), generator=random)
        yield torch.nn.functional.cross_entropy(model(images[batch]), targets[batch])


def mlp():  # type: ignore[no-untyped-def]
    from torch import nn

    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(64, 128), nn.ReLU()),
        *(nn.Linear(128, 128), nn.ReLU()),
        nn.Linear(128, 10),
    )


def cnn():  # type: ignore[no-untyped-def]
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def transformer():  # type: ignore[no-untyped-def]
    """Two layers, four heads, 64 wide, over characters; nothing but the mask is causal."""
    import torch
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(128, 64)
            self.position = nn.Parameter(0.02 * torch.randn(32, 64))
            layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 2)
            self.head = nn.Linear(64, 128)

        def forward(self, x):  # type: ignore[no-untyped-def]
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            h = self.embedding(x) + self.position
            return self.head(self.layers(h, mask=mask, is_causal=True))

    return Transformer()


def text_losses(model, seed: int):  # type: ignore[no-untyped-def]
    """Sixteen stretches of 32 characters a step: predict each next one."""
    import torch

    text = torch.tensor(list(TEXT.read_bytes()), dtype=torch.int64) % 128
    random = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(len(text) - 33, (16, 1), generator=random)
        stretch = text[starts + torch.arange(33)]
        logits = model(stretch[:, :-1])
        yield torch.nn.functional.cross_entropy(logits.flatten(0, 1), stretch[:, 1:].flatten())


def detector():  # type: ignore[no-untyped-def]
    from fcos_model import fcos

    return fcos().train()


def detector_losses(model, seed: int):  # type: ignore[no-untyped-def]
    from fcos_model import batches

    for images, targets in batches(seed):
        yield sum(model(images, targets).values())


def char_rnn(program: str) -> Callable[[int, float, float, int, Path], None]:
    """bindings/c/examples/char_rnn.c. It skips a step that is not finite, and goes on: such
    a run counts as ended all the same."""

    def train(seed: int, rate: float, max_norm: float, steps: int, log: Path) -> None:
        limit = "none" if math.isinf(max_norm) else repr(max_norm)
        options = {"seed": seed, "learning-rate": rate, "steps": steps, "sample": 0, "log": log}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        subprocess.run(
            [program, f"--max-norm={limit}", *arguments, TEXT],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    return train


def tasks(program: str) -> dict[str, Task]:
    listed = (
        Task("fcos", 0.002, 300, train_torch(detector, detector_losses, 0.9)),
        Task("char_rnn", 0.002, 2000, char_rnn(program)),
        Task("mlp", 0.05, 300, train_torch(mlp, digits_losses, 0.0)),
        Task("cnn", 0.01, 300, train_torch(cnn, digits_losses, 0.9)),
        Task("transformer", 0.01, 300, train_torch(transformer, text_losses, 0.9)),
    )
    return {task.name: task for task in listed}
