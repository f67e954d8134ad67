"""OpenBLAS, called from C: snrm2 for every tensor, sscal for every tensor."""

from __future__ import annotations

import ctypes

import scipy_openblas32

from .. import driver
from . import NotAvailable

NAME = "OpenBLAS"

_library = ctypes.CDLL(f"{scipy_openblas32.get_lib_dir()}/lib{scipy_openblas32.get_library()}.so")


def _function(name: str):
    return getattr(_library, f"scipy_{name}")


def _address(name: str) -> int:
    return ctypes.cast(_function(name), ctypes.c_void_p).value


def version() -> str:
    return scipy_openblas32.__version__


def prepare(workload, threads):
    case, tensors = workload.case, workload.arena.tensors
    if workload.arena.dtype != "float32" or case.norm_type != 2 or case.job != "norm" or case.unscales:
        raise NotAvailable("snrm2 and sscal: float32, p = 2, clip by norm")
    _function("openblas_set_num_threads")(threads)
    snrm2, sscal = _address("cblas_snrm2"), _address("cblas_sscal")
    return lambda steps: driver.blas(tensors, snrm2, sscal, steps.limits, case.writes)[0]
