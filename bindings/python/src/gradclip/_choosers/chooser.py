"""What all choosers have in common: a handle of the library's, fed and asked."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ctypes import byref, c_double, sizeof
from typing import Any, ClassVar

from .._gradients.rows import Rows, rows_of
from .._gradients.types import Grads, NonFinitePolicy
from .._native import ffi
from .._native.call import Handle, Options, call, new_result, norm_of
from .._native.errors import BadDataError, InvalidArgumentError
from .._norm import ALL_FINITE, Norm

LONGEST = 1_000_000  # norms that a window may have


class Decision:
    """What a chooser decided about a step.

    Attributes:
        threshold: max_norm for this step; infinite if there is none. Of SkipStep the
            norm above which the step is skipped.
        clip_coef: what the gradients are multiplied by, between 0 and 1; of AdaGC's
            coefficients the smallest.
        clipped: whether clip_coef is not 1.
        skip: whether to leave the step out: its norm or its loss is not finite, or
            SkipStep's outlier. Nothing was written.
        recorded: whether the norm entered the history; one that is not finite never
            does.
        steps: how many norms entered it so far.
        mean, deviation: ZClip's moving mean and standard deviation after this step;
            SkipStep's of the norms before it, and 0 and infinity while there are too
            few. Otherwise 0.
        tensor_thresholds, tensor_coefs: AdaGC's for each gradient, in the order given;
            otherwise None.
        norm: after clip_() the total norm before clipping, with all that clip_grad_norm_
            tells; otherwise None.
    """

    __slots__ = (
        "clip_coef",
        "clipped",
        "deviation",
        "mean",
        "norm",
        "recorded",
        "skip",
        "steps",
        "tensor_coefs",
        "tensor_thresholds",
        "threshold",
    )

    def __init__(
        self,
        decision: ffi.gradclip_decision,
        tensor_thresholds: tuple[float, ...] | None = None,
        tensor_coefs: tuple[float, ...] | None = None,
        norm: Norm | None = None,
    ) -> None:
        self.threshold: float = decision.threshold
        self.clip_coef: float = decision.clip_coef
        self.clipped: bool = self.clip_coef != 1.0
        self.skip: bool = decision.action == ffi.GRADCLIP_ACTION_SKIP
        self.recorded: bool = bool(decision.recorded)
        self.steps: int = decision.steps
        self.mean: float = decision.mean
        self.deviation: float = decision.deviation
        self.tensor_thresholds = tensor_thresholds
        self.tensor_coefs = tensor_coefs
        self.norm = norm

    def __repr__(self) -> str:
        what = "skip" if self.skip else f"clip_coef={self.clip_coef:.6g}"
        return f"<gradclip.Decision threshold={self.threshold:.6g} {what} steps={self.steps}>"


class Chooser:
    """The base of AutoClip, ZClip, AdaGC and SkipStep.

    Attributes:
        last: what it decided last, a Decision; None before it has.
    """

    __slots__ = ("__weakref__", "_handle", "_lock", "_settings", "last")

    per_tensor = False
    """Whether feed() takes the norm of each gradient, a list, rather than that of all."""

    _kind = 0
    _fields: ClassVar[dict[str, str]] = {}  # the library's names of settings, where others
    _codes: ClassVar[dict[str, dict[Any, int]]] = {}  # its numbers for values that are none

    def __init__(self, **settings: Any) -> None:
        self._lock = allocate_lock()
        for name, value in settings.items():
            if hasattr(value, "item"):  # a number of numpy's, or a tensor of one element
                with suppress(ValueError, RuntimeError):
                    settings[name] = value.item()
        self._settings = settings
        self.last: Decision | None = None
        options = ffi.gradclip_chooser_options()
        call(ffi.gradclip_chooser_options_init, options, sizeof(options), self._kind)
        names = {self._fields.get(name, name): name for name in settings}
        for field, name in names.items():
            value = settings[name]
            try:
                setattr(options, field, self._codes.get(name, {}).get(value, value))
            except TypeError:
                raise TypeError(f"{name} must be a number (got {value!r})") from None
        try:
            self._handle = Handle("chooser", options)
        except InvalidArgumentError as error:
            field, _, rest = str(error).partition(" ")
            raise InvalidArgumentError(f"{names.get(field, field)} {rest}") from None

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self._settings.items())
        return f"{self.__class__.__module__}.{self.__class__.__name__}({arguments})"

    # ------------------------------------------------------------------ steps --

    def _step_options(self, loss: float | None) -> dict[str, float | None]:
        """What feed() takes beside a norm."""
        return {}

    def _feed(self, norm: float, loss: float | None) -> Decision:
        decision = new_decision()
        with self._lock:
            call(ffi.gradclip_chooser_feed, self._handle, norm, _reference(loss), decision)
        self.last = Decision(decision)
        return self.last

    def clip_(
        self,
        grads: Grads,
        *,
        loss: float | None = None,
        norm_type: float | str = 2.0,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        exact_f64: bool = False,
        names: Iterable[str] | None = None,
    ) -> Decision:
        """Measures gradients, takes their norm in, and clips them in place as it decides.

        Call it between the backward pass and the optimizer's step, and leave that step
        out if the result says .skip.

        Args:
            loss: the step's loss, for SkipStep; others do not look at it.
            grads, norm_type, eps, nonfinite, grad_scale, exact_f64, names: as for
                clip_grad_norm_ (AdaGC has an eps of its own). Under "propagate" the norm
                of gradients that are not finite does not enter the history; under "zero"
                that of the rest does.

        Returns:
            The decision, with the norm before clipping in .norm.
        """
        options = Options(norm_type, False, eps, nonfinite, grad_scale, exact_f64)
        return self.clip_rows(rows_of(grads, names, writable=True), options, loss)

    def clip_rows(self, rows: Rows, options: Options, loss: float | None = None) -> Decision:
        """clip_() for gradients that were looked at already."""
        result, decision = new_result(), new_decision()
        table, each = rows.table, None
        if self.per_tensor:
            # A row for each place, empty where there is no gradient, or one seen before.
            at_places = rows.row_at()
            table = rows.table.spread(at_places)
            each = PerTensor(decision, len(at_places))
        with self._lock:
            call(
                ffi.gradclip_chooser_clip,
                self._handle,
                table.first,
                len(table.words) // 4,
                options.norm_type,
                _reference(loss),
                options.native,
                result,
                decision,
            )
        found = ALL_FINITE
        if result.nonfinite_count:
            if each is not None:
                result.first_tensor = at_places[result.first_tensor]
            found = rows.nonfinite(result)
        norm: Norm = norm_of(result, found)
        thresholds, coefs = (None, None) if each is None else each.of(at_places)
        done = Decision(decision, thresholds, coefs, norm)
        zeroed = options.nonfinite == "zero" and bool(norm.nonfinite)
        if not done.skip and (done.clipped or options.grad_scale != 1.0 or zeroed):
            rows.written()
        self.last = done
        return done

    # ------------------------------------------------------------------ state --

    def reset(self) -> None:
        """Forgets all norms."""
        with self._lock:
            call(ffi.gradclip_chooser_reset, self._handle)

    def to_bytes(self) -> bytes:
        """Settings and history as bytes, the same on every machine, with a checksum."""
        with self._lock:
            return self._handle.state()

    def _load(self, state: bytes) -> None:
        with self._lock:
            self._handle.take(state)

    def state_dict(self) -> dict[str, Any]:
        """Settings and history, of plain strings and numbers: for json, pickle and torch.save.

        It grows with the history: about 11 bytes a norm, up to a million of them.
        """
        from .._json import plain, text_of

        return {
            "chooser": self._kind_name(),
            "settings": plain(self._settings),
            "state": text_of(self.to_bytes()),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where state_dict() was: decides as that chooser would have, to the bit.

        The settings become those of state_dict too.

        Raises:
            BadDataError: it is that of another kind of chooser, or damaged. Nothing
                has changed then.
        """
        from .._json import bytes_of, number

        try:
            settings = {name: number(value) for name, value in state_dict["settings"].items()}
            state = bytes_of(state_dict["state"])
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise BadDataError(f"state_dict is none of a chooser's ({error!r})") from None
        self._load(state)
        self._settings = settings

    @classmethod
    def _kind_name(cls) -> str:
        return cls.__name__

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.__class__, self._settings, self.to_bytes())


class Measured:
    """Gradients that can be measured, and multiplied by what a chooser says."""

    options: Options

    def measure(self) -> Norm:
        raise NotImplementedError

    def scale(self, factor: float, each: Sequence[float] | None) -> None:
        """Multiplies all by a factor, or each by that in its place."""
        raise NotImplementedError

    def places(self) -> tuple[list[int], int]:
        """Where in the list the gradients are, same memory once; how long the list is."""
        raise NotImplementedError

    def multiply(self, norm: Norm, clip_coef: float, each: Sequence[float] | None) -> Norm:
        """Clips as a chooser decided, and returns the norm with that filled in."""
        unit = self.options.grad_scale
        norm.clip_coef, norm.clipped, norm.factor = clip_coef, clip_coef != 1.0, clip_coef / unit
        self.scale(norm.factor, None if each is None else [one / unit for one in each])
        return norm


def checked_chooser(given: Any) -> Chooser:
    """One of this package's choosers; TypeError for anything else."""
    if not isinstance(given, Chooser):
        raise TypeError(
            f"max_norm must be a number or one of gradclip's choosers, made (got {given!r})"
        )
    return given


def decide(chooser: Any, work: Measured, loss: dict[str, float | None]) -> tuple[Norm, Any]:
    """Measures, feeds any object with feed(), and clips as it decides: the norm, the decision."""
    norm = work.measure()
    fed: Any = float(norm)
    if getattr(chooser, "per_tensor", False):
        places, count = work.places()
        fed = [None] * count
        for place in places:
            fed[place] = norm.tensor_norms[place] if norm.tensor_norms else 0.0
    decision = chooser.feed(fed, **loss)
    if not decision.skip and not norm.nonfinite:
        each = getattr(decision, "tensor_coefs", None)
        norm = work.multiply(norm, float(decision.clip_coef), each)
    return norm, decision


class PerTensor:
    """Room for what a decision says of each tensor."""

    def __init__(self, decision: ffi.gradclip_decision, count: int) -> None:
        self._thresholds = (c_double * count)()
        self._coefs = (c_double * count)()
        decision.tensor_thresholds = self._thresholds
        decision.tensor_coefs = self._coefs

    def of(self, rows: Sequence[int | None] | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of each gradient: one that is the same memory as another has what that one has."""
        if rows is None:
            return tuple(self._thresholds), tuple(self._coefs)
        first: dict[int, int] = {}
        places = [i if row is None else first.setdefault(row, i) for i, row in enumerate(rows)]
        return (
            tuple(self._thresholds[i] for i in places),
            tuple(self._coefs[i] for i in places),
        )


def new_decision() -> ffi.gradclip_decision:
    return ffi.gradclip_decision(sizeof(ffi.gradclip_decision))


def _reference(loss: float | None) -> Any:
    if loss is None:
        return None
    try:
        return byref(c_double(float(loss)))
    except (TypeError, ValueError):
        raise TypeError(f"loss must be a number or None (got {loss!r})") from None


def _restored(kind: type[Any], settings: dict[str, Any], state: bytes) -> Any:
    made = kind(**settings)
    made._load(state)
    return made
