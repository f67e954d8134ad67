"""Monitor: clips the gradients of parameters, keeps the norms, and says what went wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable

from torch import Tensor
from torch.optim import Optimizer

from .._gradients.types import Feeds, NonFinitePolicy, WritesScalars
from .._monitor.monitor import InLibrary
from .._monitor.recorder import Recorder, Step, Work, given_number
from . import _sharded
from ._clip import look
from ._fallback import InTorch
from ._rows import ForTorch, Held, Parameters


class Monitor(Recorder):
    """Clips the gradients of every step, keeps their norms, and says what went wrong.

    Args:
        parameters: a model, its named_parameters(), parameters, an optimizer, ..., as for
            clip_grad_norm_.
        max_norm: the largest norm allowed, >= 0 (infinity: only watch), or a chooser.
        optimizer: whose learning rate (that of the first group) to log.
        names: names of the parameters, one each, if the first argument does not have them.
        log: a file for a line a step: .csv, .jsonl or .ndjson.
        The others, and more about these: as for gradclip.Monitor.

    Warnings, attributes and exceptions are those of gradclip.Monitor. Gradients that the
    library has no code for (on a GPU, sparse) are measured and scaled by torch. DTensors in CPU
    memory have the norm of all their ranks, each of which needs a Monitor, made alike, and a log on
    one of them.

    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> monitor = Monitor(model, max_norm=1.0, optimizer=optimizer)
    >>> loss = model(torch.tensor([3.0, 4.0])).sum()
    >>> loss.backward()
    >>> done = monitor.clip_(loss=loss)
    >>> if not done.skip:
    ...     optimizer.step()
    >>> done, model.weight.grad
    (5.0, tensor([[0.6000, 0.8000]]))
    """

    _noun = "parameter"

    def __init__(
        self,
        parameters: Parameters,
        max_norm: float | Feeds,
        norm_type: float | str = 2.0,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        optimizer: Optimizer | None = None,
        names: Iterable[str] | None = None,
        log: str | os.PathLike[str] | None = None,
        tensorboard: WritesScalars | None = None,
        tag: str = "gradclip",
        history: int = 1_000_000,
    ) -> None:
        self._held = Held(parameters, names)
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer (got {optimizer!r})")
        self._optimizer = optimizer
        super().__init__(max_norm, norm_type, eps, nonfinite, log, tensorboard, tag, history)

    def clip_(
        self,
        *,
        loss: Tensor | float | None = None,
        learning_rate: float | None = None,
        grad_scale: Tensor | float = 1.0,
        step: int | None = None,
    ) -> Step:
        """Clips the gradients of a step in place: once, after the last backward pass of it.

        Args:
            loss: of this step, for the log, the advice and the diagnosis.
            learning_rate: the same; by default that of the optimizer, if there is one.
            grad_scale: what the gradients are still multiplied by, as for clip_grad_norm_;
                with a torch.amp.GradScaler call its unscale_() before, and leave this out.
            step: the number of the step; by default one more than the last.

        Returns:
            The norm before clipping, a gradclip.Step (a float): leave the step out if its
            .skip is true.
        """
        if learning_rate is None and self._optimizer is not None:
            learning_rate = self._optimizer.param_groups[0]["lr"]
        scale = given_number(grad_scale, "grad_scale")
        options = self._options(scale)
        parameters, names = self._held._parameters, self._held._names
        seen = look(parameters, names, options, self._held._memo)
        work: Work
        if _sharded.spans_ranks(parameters, seen):
            work = _sharded.OverRanks(parameters, names, options)
        elif isinstance(seen, ForTorch):
            work = InTorch(parameters, names, options)
        else:
            work = InLibrary(seen, options)
        return self._step(work, step, learning_rate, loss, scale)
