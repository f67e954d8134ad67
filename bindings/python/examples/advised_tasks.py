"""What advised.py trains: small tasks of differing kinds, each of a fraction of a second.

A task makes, for a seed, its parameters and a function that computes a step's loss and a
score. The score is what a run is judged by, lower is better: the loss where that says how
good the model is, and otherwise (policy gradients, Q-learning, GAN) what does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEXT = Path(__file__).resolve().parents[2] / "c" / "examples" / "data" / "asyoulik.txt"

Step = Callable[[int], tuple[Tensor, float]]
Made = tuple[list[nn.Parameter], Step]


@dataclass(frozen=True)
class Task:
    """lowest: the smallest rate that is tried, by optimizer ("sgd": plain; "momentum": SGD
    with 0.9; "adam"; "adamw"). scheduled: warm-up over a tenth of the steps, then cosine."""

    name: str
    kind: str
    make: Callable[[int], Made]
    lowest: dict[str, float]
    steps: int = 300
    scheduled: bool = False


def _mlp(*widths: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 + seed)


def _steps(model: nn.Module, loss_of: Callable[[int], Tensor]) -> Made:
    def step(at: int) -> tuple[Tensor, float]:
        loss = loss_of(at)
        return loss, loss.item()

    return list(model.parameters()), step


def _classes(random: torch.Generator, size: int, rows: int, classes: int) -> tuple[Tensor, Tensor]:
    """A problem that a small network can learn: classes of a random network's outputs."""
    inputs = torch.randn(rows, size, generator=random)
    first = torch.randn(size, 3 * classes, generator=random)
    second = torch.randn(3 * classes, classes, generator=random)
    return inputs, (torch.tanh(inputs @ first / math.sqrt(size)) @ second).argmax(1)


def exponential_link(seed: int) -> Made:
    """Counts by a network with the exponential link: the gradient grows as the prediction."""
    random = _random(seed)
    inputs = torch.randn(1024, 8, generator=random)
    rate = torch.exp(inputs[:, 0] + torch.sin(2 * inputs[:, 1]) * inputs[:, 2])
    counts = torch.poisson(rate.clamp(max=50), generator=random)
    model = _mlp(8, 32, 32, 1)

    def loss_of(at: int) -> Tensor:
        batch = torch.randint(1024, (32,), generator=random)
        z = model(inputs[batch])[:, 0]
        return (torch.exp(z) - counts[batch] * z + torch.lgamma(counts[batch] + 1)).mean()

    return _steps(model, loss_of)


def deep_plain(seed: int) -> Made:
    """Twelve layers of ReLU, no normalisation, no shortcuts."""
    random = _random(seed)
    inputs, labels = _classes(random, 16, 1024, 4)
    model = _mlp(16, *[48] * 11, 4)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def loss_of(at: int) -> Tensor:
        batch = torch.randint(1024, (32,), generator=random)
        return F.cross_entropy(model(inputs[batch]), labels[batch])

    return _steps(model, loss_of)


class _Residual(nn.Module):
    def __init__(self, depth: int, width: int, out: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_mlp(width, width, width) for _ in range(depth))
        self.head = nn.Linear(width, out)
        for layer in self.blocks.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def residual(seed: int) -> Made:
    """Eight residual blocks without normalisation: the first gradients are enormous."""
    random = _random(seed)
    inputs, labels = _classes(random, 16, 1024, 4)
    model = _Residual(8, 16, 4)

    def loss_of(at: int) -> Tensor:
        batch = torch.randint(1024, (32,), generator=random)
        return F.cross_entropy(model(inputs[batch]), labels[batch])

    return _steps(model, loss_of)


def recurrent(seed: int) -> Made:
    """The adding problem over 16 steps, with a plain tanh recurrence."""
    random = _random(seed)
    cell, head = nn.RNN(2, 32, batch_first=True), nn.Linear(32, 1)
    recurrence = cell.get_parameter("weight_hh_l0")
    nn.init.orthogonal_(recurrence)
    with torch.no_grad():
        recurrence.mul_(1.2)
    model = nn.ModuleList([cell, head])

    def loss_of(at: int) -> Tensor:
        values = torch.rand(32, 16, generator=random)
        marks = torch.zeros(32, 16)
        rows = torch.arange(32)
        marks[rows, torch.randint(8, (32,), generator=random)] = 1
        marks[rows, 8 + torch.randint(8, (32,), generator=random)] = 1
        hidden = cell(torch.stack([values, marks], 2))[0][:, -1]
        return F.mse_loss(head(hidden)[:, 0], (values * marks).sum(1))

    return _steps(model, loss_of)


_text: list[Tensor] = []


def _stretches(random: torch.Generator, rows: int, length: int) -> Tensor:
    if not _text:
        _text.append(torch.tensor(list(TEXT.read_bytes()), dtype=torch.int64) % 128)
    text = _text[0]
    starts = torch.randint(len(text) - length - 1, (rows, 1), generator=random)
    return text[starts + torch.arange(length + 1)]


def char_lstm(seed: int) -> Made:
    """An LSTM over characters, its gates' weights begun large."""
    random = _random(seed)
    embedding, cell, head = (
        nn.Embedding(128, 24),
        nn.LSTM(24, 48, batch_first=True),
        nn.Linear(48, 128),
    )
    model = nn.ModuleList([embedding, cell, head])

    def loss_of(at: int) -> Tensor:
        stretch = _stretches(random, 12, 20)
        logits = head(cell(embedding(stretch[:, :-1]))[0])
        return F.cross_entropy(logits.flatten(0, 1), stretch[:, 1:].flatten())

    return _steps(model, loss_of)


def flow(seed: int) -> Made:
    """Six affine couplings on two moons: the negative log-likelihood, with exponentials in it."""
    random = _random(seed)
    nets = nn.ModuleList(_mlp(1, 24, 2, act=nn.Tanh) for _ in range(6))

    def loss_of(at: int) -> Tensor:
        angle = math.pi * torch.rand(64, generator=random)
        side = torch.randint(2, (64,), generator=random).float()
        points = torch.stack(
            [torch.cos(angle) * (1 - 2 * side) + side, torch.sin(angle) * (1 - 2 * side) + side / 2]
        )
        a, b = points + 0.08 * torch.randn(2, 64, generator=random)
        total = torch.zeros(64)
        for net in nets:
            scale, shift = net(a[:, None]).unbind(1)
            a, b = b * torch.exp(scale) + shift, a
            total = total + scale
        return ((a**2 + b**2) / 2 + math.log(2 * math.pi) - total).mean()

    return _steps(nets, loss_of)


def vae(seed: int) -> Made:
    """A VAE whose decoder learns its variance: a likelihood without an upper end."""
    random = _random(seed)
    mixing = torch.randn(3, 24, generator=random)
    encoder, decoder = _mlp(24, 32, 6), _mlp(3, 32, 48)
    model = nn.ModuleList([encoder, decoder])

    def loss_of(at: int) -> Tensor:
        hidden = torch.randn(32, 3, generator=random)
        x = torch.tanh(hidden @ mixing) + 0.1 * torch.randn(32, 24, generator=random)
        mean, log_var = encoder(x).chunk(2, 1)
        z = mean + torch.exp(log_var / 2) * torch.randn(32, 3, generator=random)
        out, out_var = decoder(z).chunk(2, 1)
        fits = ((x - out) ** 2 * torch.exp(-out_var) + out_var).sum(1) / 2
        divergence = (torch.exp(log_var) + mean**2 - 1 - log_var).sum(1) / 2
        return (fits + divergence).mean() / 24

    return _steps(model, loss_of)


def _energy(a: Tensor, b: Tensor) -> float:
    """The energy distance of two samples."""
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())


def gan(seed: int) -> Made:
    """A ring of eight points by a GAN, both players in one step; judged by energy distance."""
    random = _random(seed)
    generator, critic = _mlp(4, 32, 32, 2), _mlp(2, 32, 32, 1)
    scores: list[float] = []

    def step(at: int) -> tuple[Tensor, float]:
        angle = torch.randint(8, (64,), generator=random) * (math.pi / 4)
        real = 2 * torch.stack([torch.cos(angle), torch.sin(angle)], 1)
        real = real + 0.05 * torch.randn(64, 2, generator=random)
        fake = generator(torch.randn(64, 4, generator=random))
        for p in critic.parameters():
            p.requires_grad_(False)
        loss = F.softplus(-critic(fake)).mean()
        for p in critic.parameters():
            p.requires_grad_(True)
        loss = loss + (F.softplus(-critic(real)) + F.softplus(critic(fake.detach()))).mean()
        if at % 5 == 0 or not scores:
            with torch.no_grad():
                scores.append(_energy(real, fake))
        return loss, scores[-1]

    return [*generator.parameters(), *critic.parameters()], step


def _glide(x: Tensor, v: Tensor, force: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A point that is to be brought to 0: its next place and speed, and the cost."""
    v = (v + 0.3 * force).clamp(-3, 3)
    x = (x + 0.3 * v).clamp(-5, 5)
    return x, v, x**2 + 0.1 * v**2


def policy_gradient(seed: int) -> Made:
    """REINFORCE with a Gaussian policy, without a critic; judged by the episodes' costs."""
    random = _random(seed)
    policy = _mlp(2, 24, 1, act=nn.Tanh)
    log_std = nn.Parameter(torch.tensor(-0.5))

    def step(at: int) -> tuple[Tensor, float]:
        x, v = 2 * torch.randn(2, 32, generator=random)
        logs, costs = [], []
        for _ in range(8):
            mean = policy(torch.stack([x, v], 1))[:, 0]
            force = (mean + log_std.exp() * torch.randn(32, generator=random)).detach()
            logs.append(-(((force - mean) / log_std.exp()) ** 2) / 2 - log_std)
            x, v, cost = _glide(x, v, force.clamp(-2, 2))
            costs.append(cost)
        to_go = torch.stack(costs).flip(0).cumsum(0).flip(0)
        advantage = to_go.mean(1, keepdim=True) - to_go
        return -(torch.stack(logs) * advantage).mean(), float(torch.stack(costs).mean())

    return [*policy.parameters(), log_std], step


def q_learning(seed: int) -> Made:
    """Q-learning with a target network and replay; judged by the costs of its greedy policy."""
    random = _random(seed)
    q, target = _mlp(2, 32, 32, 3), _mlp(2, 32, 32, 3)
    target.load_state_dict(q.state_dict())
    forces = torch.tensor([-1.5, 0.0, 1.5])
    scores: list[float] = []

    def greedy() -> float:
        x, v = torch.linspace(-3, 3, 24), torch.linspace(1, -1, 24)
        total = 0.0
        with torch.no_grad():
            for _ in range(10):
                x, v, cost = _glide(x, v, forces[q(torch.stack([x, v], 1)).argmax(1)])
                total += float(cost.mean()) / 10
        return total

    def step(at: int) -> tuple[Tensor, float]:
        if at % 20 == 0:
            target.load_state_dict(q.state_dict())
        x = 6 * torch.rand(48, generator=random) - 3
        v = 4 * torch.rand(48, generator=random) - 2
        action = torch.randint(3, (48,), generator=random)
        next_x, next_v, cost = _glide(x, v, forces[action])
        with torch.no_grad():
            best = -cost + 0.9 * target(torch.stack([next_x, next_v], 1)).max(1).values
        told = q(torch.stack([x, v], 1)).gather(1, action[:, None])[:, 0]
        if at % 10 == 0 or not scores:
            scores.append(greedy())
        return F.mse_loss(told, best), scores[-1]

    return list(q.parameters()), step


def transformer(seed: int) -> Made:
    """Two post-norm layers over characters, without warm-up."""
    random = _random(seed)
    embedding, head = nn.Embedding(128, 32), nn.Linear(32, 128)
    place = nn.Parameter(0.02 * torch.randn(20, 32))
    layers = [
        (nn.Linear(32, 96), nn.Linear(32, 32), nn.LayerNorm(32), _mlp(32, 64, 32), nn.LayerNorm(32))
        for _ in range(2)
    ]

    def loss_of(at: int) -> Tensor:
        stretch = _stretches(random, 12, 20)
        h = embedding(stretch[:, :-1]) + place
        for mixing, out, norm1, wide, norm2 in layers:
            q, k, v = mixing(h).view(12, 20, 3, 4, 8).permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = norm1(h + out(seen.transpose(1, 2).reshape(12, 20, 32)))
            h = norm2(h + wide(h))
        return F.cross_entropy(head(h).flatten(0, 1), stretch[:, 1:].flatten())

    parts = nn.ModuleList([embedding, head, *(part for layer in layers for part in layer)])
    parameters, step = _steps(parts, loss_of)
    return [*parameters, place], step


def fine_tuning(seed: int) -> Made:
    """A network that has learnt one problem is given another, with warm-up and cosine."""
    random = _random(seed)
    inputs, before = _classes(random, 16, 1024, 4)
    _, after = _classes(random, 16, 1024, 4)
    after = torch.where(torch.rand(1024, generator=random) < 0.5, before, after)
    model = _mlp(16, 64, 64, 4)
    first = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        first.zero_grad()
        F.cross_entropy(model(inputs), before).backward()
        first.step()

    def loss_of(at: int) -> Tensor:
        batch = torch.randint(1024, (32,), generator=random)
        return F.cross_entropy(model(inputs[batch]), after[batch])

    return _steps(model, loss_of)


def outliers(seed: int) -> Made:
    """Regression on targets with Cauchy noise: one batch in several has an enormous gradient.
    Judged by the error against the targets without noise."""
    random = _random(seed)
    inputs = torch.randn(2048, 8, generator=random)
    clean = torch.sin(2 * inputs[:, 0]) + inputs[:, 1] * inputs[:, 2]
    noisy = clean + 0.1 * torch.tan(math.pi * (torch.rand(2048, generator=random) - 0.5))
    model = _mlp(8, 48, 48, 1)

    def step(at: int) -> tuple[Tensor, float]:
        batch = torch.randint(2048, (32,), generator=random)
        told = model(inputs[batch])[:, 0]
        score = F.mse_loss(told.detach(), clean[batch])
        return F.mse_loss(told, noisy[batch]), score.item()

    return list(model.parameters()), step


def deep_linear(seed: int) -> Made:
    """A product of five matrices: the gradient of each grows as the product of the others."""
    random = _random(seed)
    inputs = torch.randn(512, 12, generator=random)
    targets = inputs @ torch.randn(12, 12, generator=random) / 2
    model = nn.Sequential(*(nn.Linear(12, 12, bias=False) for _ in range(5)))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(12))

    def loss_of(at: int) -> Tensor:
        batch = torch.randint(512, (32,), generator=random)
        return F.mse_loss(model(inputs[batch]), targets[batch])

    return _steps(model, loss_of)


def contrastive(seed: int) -> Made:
    """Pairs of views, InfoNCE, with a temperature that is learnt."""
    random = _random(seed)
    mixing = torch.randn(2, 6, 24, generator=random)
    left, right = _mlp(24, 48, 16), _mlp(24, 48, 16)
    log_scale = nn.Parameter(torch.tensor(2.0))

    def step(at: int) -> tuple[Tensor, float]:
        hidden = torch.randn(48, 6, generator=random)
        a, b = (torch.tanh(hidden @ m) + 0.1 * torch.randn(48, 24, generator=random) for m in mixing)
        a, b = F.normalize(left(a), dim=1), F.normalize(right(b), dim=1)
        loss = F.cross_entropy(log_scale.exp() * a @ b.T, torch.arange(48))
        return loss, loss.item()

    return [*left.parameters(), *right.parameters(), log_scale], step


TASKS = {
    task.name: task
    for task in (
        Task("exponential", "exponential link", exponential_link, {"sgd": 3e-4, "adam": 3e-4}),
        Task("deep", "deep plain network", deep_plain, {"momentum": 3e-5, "adam": 1e-4}),
        Task("recurrent", "recurrent network", recurrent, {"sgd": 3e-4, "adam": 3e-4}),
        Task("lstm", "LSTM over characters", char_lstm, {"momentum": 0.01, "adam": 1e-3}),
        Task("residual", "residual, no normalisation", residual, {"sgd": 1e-5, "adamw": 1e-4}),
        Task("flow", "flow", flow, {"sgd": 1e-3, "adam": 3e-4}),
        Task("vae", "VAE", vae, {"momentum": 3e-4, "adam": 3e-4}),
        Task("gan", "GAN", gan, {"sgd": 1e-3, "adam": 1e-4}),
        Task("policy", "policy gradients", policy_gradient, {"sgd": 1e-4, "adam": 3e-4}),
        Task("q", "Q-learning", q_learning, {"sgd": 1e-4, "adam": 3e-4}),
        Task("transformer", "post-norm transformer", transformer, {"momentum": 0.003, "adamw": 3e-4}),
        Task("tuning", "fine-tuning, scheduled", fine_tuning, {"sgd": 0.01, "adamw": 3e-4}, scheduled=True),
        Task("outliers", "outliers in the targets", outliers, {"sgd": 1e-4, "adam": 3e-4}),
        Task("linear", "product of matrices", deep_linear, {"sgd": 3e-4, "adam": 3e-4}),
        Task("contrastive", "contrastive", contrastive, {"momentum": 0.003, "adam": 3e-4}),
    )
}  # fmt: skip
