"""Which column is which, by its name: the total norm, a tensor's norm, the learning rate, ..."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..log import LogError

_GRAD = r"(?:g|grads?|gradients?)"
_P = r"(?:\d+(?:\.\d+)?|l[12]|inf)"
_BEFORE = r"(?:raw|unclipped|pre_?clip(?:ping)?|before_?clip(?:ping)?)"
_AFTER = r"(?:clipped|post_?clip(?:ping)?|after_?clip(?:ping)?)"
# Whose norm it is, behind its name: grad_norm_actor, grad_norm_d.
PART = r"(?:d|g|gen|generator|disc|discriminator|actor|critic|policy|q|pi|encoder|decoder)"
_WORD = rf"(?:total|global|overall|all|local|train|training|max|mean|avg|{_P})"
_NORM = re.compile(
    rf"(?:(?:{_WORD}|{_BEFORE}|{_AFTER})_)*"
    rf"(?:{_GRAD}_?(?:(?:{_WORD})_)*norms?|(?:total|global)_norm|norm_{_GRAD}"
    rf"|{_GRAD}_gnorm|gnorm|{_GRAD}_(?:\w{{1,40}}_)?global_norm)"
    rf"(?P<after>(?:_(?:{_WORD}|{_BEFORE}|{_AFTER}|step|epoch|value))*)"
)
_TENSOR = re.compile(rf"(?:.*/)?{_GRAD}_?(?:(?P<p>{_P})_)?norms?[/.:](?P<tensor>.+)", re.I)
_SPLIT_TOTAL = re.compile(
    rf"(?:.*/)?{_GRAD}(?:[_/]?norms?)?/(?:norm|total(?:_norm)?|global(?:_norm)?)"
)
_LR = re.compile(r"(?:base_|current_|cur_)?(?:lr|learning_?rate)(?:[-_/.:].*|\d*)")
_LOSSES = (
    "loss", "train_loss", "training_loss", "lm_loss", "total_loss", "loss_total",
    "train_total_loss", "loss_train", "train_loss_step", "nll_loss",
)  # fmt: skip
_STEPS = (
    "global_step", "trainer/global_step", "step", "_step", "train_step", "optimizer_step",
    "iteration", "iter", "global_iter", "num_updates", "update", "updates", "steps",
    "current_steps", "it", "global_step/max_steps", "total_timesteps", "time/total_timesteps",
    "timesteps_total", "training_iteration",
)  # fmt: skip
_TIMES = ("step", "wall time", "wall_time", "timestamp", "time", "index", "epoch")
_VALIDATION = re.compile(r"(?:^|[/_.])(?:val|valid|validation|eval|evaluation|test)(?:$|[/_.])")


class Role(NamedTuple):
    """What a column holds. Of several with the same role the lowest rank is taken."""

    kind: str  # norm, tensor, learning_rate, loss, step, epoch, ...
    rank: int = 0
    after_clipping: bool = False
    tensor: str = ""
    p: float = 2.0


def role_of(name: str) -> Role | None:
    """What a column of this name holds, as far as names tell."""
    plain = re.sub(r"[\s-]+", "_", name.strip().lower()).strip(":")
    if plain == "config/grad_clip":
        return Role("max_norm", 1)  # of RLlib
    if _VALIDATION.search(plain) or plain.endswith("_vs_samples") or plain.startswith("config/"):
        return None
    whole = re.sub(r"^(?:train(?:ing|er)?|optim(?:izer)?|metrics|model)[/.]", "", plain)
    last = whole.rpartition("/")[2]
    return (
        _norm(whole, last)
        or _tensor(name.strip())
        or _listed("step", plain, whole, _STEPS)
        or _listed("loss", whole, last, _LOSSES)
        or _rest(whole, last)
    )


def _norm(whole: str, last: str) -> Role | None:
    found = _NORM.fullmatch(re.sub(rf"_{PART}$", "", last))
    if found is None and not _SPLIT_TOTAL.fullmatch(whole):
        return Role("norm", 9) if last == "norm" else None
    if re.search(_BEFORE, last):
        return Role("norm", 0)
    if re.search(_AFTER, last):
        return Role("norm", 8, after_clipping=True)
    if "_epoch" in last or "_mean" in last or "_avg" in last:
        return Role("norm", 6)
    if re.search(r"(?:^|_)(?:local|max)_", last):
        return Role("norm", 7)
    if re.search(rf"_{PART}$", last):
        return Role("norm", 3)
    return Role("norm", 1 if "total" in last or "global" in last else 2)


def _tensor(name: str) -> Role | None:
    found = _TENSOR.fullmatch(name)
    if found is None:
        return None
    order = (found["p"] or "2").lower().lstrip("l")
    return Role("tensor", tensor=found["tensor"], p=float(order))


def _listed(kind: str, name: str, other: str, names: Iterable[str]) -> Role | None:
    for rank, known in enumerate(names):
        if known in (name, other):
            return Role(kind, rank)
    return None


def _rest(whole: str, last: str) -> Role | None:
    if last in ("lr", "learning_rate") or whole in ("lr", "learning_rate"):
        return Role("learning_rate", 0)
    if _LR.fullmatch(whole) or _LR.fullmatch(last):
        return Role("learning_rate", 1)
    if last in ("loss_scale", "grad_scale", "loss_scaler"):
        return Role("loss_scale")
    if last in ("global_batch_size", "batch_size"):
        return Role("batch_size", 0 if last.startswith("global") else 1)
    if last in ("clip_coef", "clip_coefficient", "clipping_coefficient"):
        return Role("clip_coef")
    if last in ("max_norm", "max_grad_norm"):
        return Role("max_norm")
    if last == "threshold":
        return Role("threshold")
    if last == "action":
        return Role("skipped")
    if last == "first_tensor":
        return Role("culprit")
    if last == "epoch":
        return Role("epoch")
    if last in ("rank", "global_rank", "process_index"):
        return Role("rank")
    return None


def only_value(names: Iterable[str]) -> str | None:
    """The column "Value" of a download that holds one metric alone, as TensorBoard's and
    Neptune's do: beside it there are steps and times."""
    values = [name for name in names if name.strip().lower() not in _TIMES]
    return values[0] if len(values) == 1 and values[0].strip().lower() == "value" else None


class Columns(NamedTuple):
    """The columns that were chosen of those that there are, by name."""

    norm: str | None
    after_clipping: bool
    others: dict[str, str]  # role: name
    tensors: dict[str, str]  # name of the column: name of the tensor
    p: float
    words: list[str]  # what was taken, and why


def choose(
    names: Iterable[str], wanted: str | None = None, loss: str | None = None
) -> Columns:
    """The best column for each role; `wanted` for the norm and `loss` for the loss, if named.

    Where the norm is not among them, Columns.norm is None.
    """
    names = list(dict.fromkeys(names))
    roles = [(name, role) for name, role in ((name, role_of(name)) for name in names) if role]
    norms = sorted(
        (role.rank, place, name) for place, (name, role) in enumerate(roles) if role.kind == "norm"
    )
    tensors = {name: role for name, role in roles if role.kind == "tensor"}
    others: dict[str, tuple[int, str]] = {}
    for name, role in roles:
        best = others.get(role.kind)
        if role.kind not in ("norm", "tensor") and (best is None or role.rank < best[0]):
            others[role.kind] = (role.rank, name)
    if loss is not None:
        if loss not in names:
            shown = ", ".join(repr(name[:60]) for name in names[:12])
            raise LogError(f"--loss names no column, key or tag (got {loss!r}); there are {shown}")
        others["loss"] = (0, loss)
        tensors.pop(loss, None)
    p = next((role.p for role in tensors.values()), 2.0)
    norm, words = None, []
    if wanted is not None:
        if wanted in names:
            norm, words = wanted, [f"norm: {wanted!r}, as asked for"]
            tensors.pop(wanted, None)
    elif norms:
        norm = norms[0][2]
        words = [f"norm: {norm!r}, {_why(norms[0][0])}{_rivals(norms, names)}"]
    elif tensors:
        words = [f"norm: the {p:g}-norm of {len(tensors)} tensors' norms (there is no total)"]
    for kind in ("learning_rate", "loss", "step", "loss_scale", "batch_size", "clip_coef", "max_norm"):
        if kind in others:
            what = kind if kind in ("clip_coef", "max_norm") else kind.replace("_", " ")
            words.append(f"{what}: {others[kind][1]!r}")
    # Of the logs of gradclip alone: elsewhere they are an agent's, or anything.
    threshold, action = others.pop("threshold", None), others.pop("skipped", None)
    if threshold is not None and action is not None:
        others.setdefault("max_norm", threshold)
        others["skipped"] = action
    return Columns(
        norm,
        wanted is None and norm is not None and dict(roles)[norm].after_clipping,
        {kind: name for kind, (_, name) in others.items() if name != norm},
        {name: role.tensor for name, role in tensors.items()},
        p,
        words,
    )


def _why(rank: int) -> str:
    if rank == 0:
        return "whose name says that it is from before clipping"
    if rank <= 3:
        return "by its name"
    if rank == 6:
        return "by its name, a mean"
    if rank == 8:
        return "the only one, by its name from after clipping"
    return "the only name like it"


def _rivals(norms: list[tuple[int, int, str]], names: list[str]) -> str:
    if len(norms) < 2:
        return f", of {len(names)} columns" if len(names) > 1 else ""
    rest = [name for _, _, name in norms[1:]]
    shown = ", ".join(repr(name) for name in rest[:3])
    return f"; not taken: {shown}" + (f" and {len(rest) - 3} more" if len(rest) > 3 else "")
