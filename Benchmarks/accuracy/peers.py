"""The total norm of one gradient as each library computes it, with what a user
would call. A library that is not installed says so instead of a norm."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported


@dataclass
class Peer:
    name: str
    module: str  # what is imported
    call: str  # what is measured, for people
    prepare: Callable[[Any], Callable[[np.ndarray, int], float]]

    def load(self) -> bool:
        """Imports the library; False if it is not installed."""
        try:
            self.library = importlib.import_module(self.module)
        except ImportError as error:
            self.missing = str(error)
            return False
        self.norm = self.prepare(self.library)
        return True

    @property
    def version(self) -> str:
        return self.library.__version__


def _gradclip(gradclip: Any) -> Callable[[np.ndarray, int], float]:
    return lambda grad, p: float(gradclip.get_total_norm([grad], norm_type=p))


def _torch(torch: Any) -> Callable[[np.ndarray, int], float]:
    def norm(grad: np.ndarray, p: int) -> float:
        if grad.dtype.name == "bfloat16":
            tensor = torch.from_numpy(grad.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(grad)
        # The norm half of torch.nn.utils.clip_grad_norm_.
        return float(torch.nn.utils.get_total_norm([tensor], norm_type=p))

    return norm


def _numpy(numpy: Any) -> Callable[[np.ndarray, int], float]:
    # numpy.linalg.norm takes p = 2 of a vector through a dot product only by default.
    return lambda grad, p: float(numpy.linalg.norm(grad, None if p == 2 else p))


def _tensorflow(tf: Any) -> Callable[[np.ndarray, int], float]:
    def norm(grad: np.ndarray, p: int) -> float:
        tensor = tf.constant(grad)
        # global_norm is that of tf.clip_by_global_norm, which knows p = 2 only.
        return float(tf.linalg.global_norm([tensor]) if p == 2 else tf.norm(tensor, ord=p))

    return norm


PEERS = [
    Peer("torch", "torch", "torch.nn.utils.get_total_norm", _torch),
    Peer("NumPy", "numpy", "numpy.linalg.norm", _numpy),
    Peer("TensorFlow", "tensorflow", "tf.linalg.global_norm; tf.norm for p = 1, 3", _tensorflow),
    Peer("gradclip", "gradclip", "gradclip.get_total_norm", _gradclip),
]
