"""The exceptions, and the one place where a refused call becomes one of them."""

from __future__ import annotations

from .._norm import NonFinite
from . import ffi


class GradClipError(Exception):
    """A call was refused, and no gradient was written. `status` is the library's number for why."""

    status = 0


class InvalidArgumentError(GradClipError, ValueError):
    """An argument is outside its range; the message names it and its value."""

    status = ffi.GRADCLIP_ERROR_INVALID_ARGUMENT


class UnsupportedError(GradClipError, NotImplementedError):
    """The request is valid, but the library cannot do it (a dtype, a device)."""

    status = ffi.GRADCLIP_ERROR_UNSUPPORTED


class OutOfMemoryError(GradClipError, MemoryError):
    """Scratch memory could not be had."""

    status = ffi.GRADCLIP_ERROR_OUT_OF_MEMORY


class LogError(GradClipError, ValueError):
    """A file holds no log of gradient norms that could be read; the message says why."""


class MissingPackageError(GradClipError, ImportError):
    """A package of the extra `gradclip[cli]` is not installed; the message says how to get it."""


class BadDataError(GradClipError, ValueError):
    """Bytes that were to be read back are damaged or foreign."""

    status = ffi.GRADCLIP_ERROR_BAD_DATA


class NonFiniteGradientError(GradClipError, RuntimeError):
    """A gradient holds a NaN or an infinity, and error_if_nonfinite=True was given.

    Raised before anything is written. `nonfinite` says how many there are and
    where the first one is. The functions of gradclip.torch, which raise only
    where the norm is not finite either, put what torch says before that; for
    them `norm_type` is the order of the norm.
    """

    status = ffi.GRADCLIP_NON_FINITE

    def __init__(self, nonfinite: NonFinite, norm_type: float | None = None) -> None:
        super().__init__(nonfinite, norm_type)
        self.nonfinite = nonfinite
        self.norm_type = norm_type

    def __str__(self) -> str:
        if self.norm_type is not None:
            return (
                f"The total norm of order {self.norm_type} for gradients from `parameters` is "
                f"non-finite, so it cannot be clipped. {self.nonfinite.of('parameter')}; nothing "
                "was written. To scale the gradients by the non-finite norm anyway, set "
                "`error_if_nonfinite=False`"
            )
        return (
            f"{self.nonfinite}; nothing was written. To clip all the same, "
            "leave out error_if_nonfinite and choose a policy (nonfinite=...)"
        )


_BY_STATUS = {
    error.status: error
    for error in (InvalidArgumentError, UnsupportedError, OutOfMemoryError, BadDataError)
}


def error_for(status: int) -> GradClipError:
    """The exception for a status below 0 that this thread's last call returned."""
    message = ffi.gradclip_last_error().decode("utf-8", "replace")
    kind = _BY_STATUS.get(status)
    if kind is None:
        text = ffi.gradclip_status_string(status).decode("ascii", "replace")
        return GradClipError(f"status {status} ({text}): {message}")
    return kind(message)
