#!/usr/bin/env python3
"""Walks through gradient clipping step by step: the function
z = sum of x^2 + sum of y^3 at x = [99, 108], y = [45, 75], its gradients, their
norms, the coefficient and the clipped gradients, as computed by the library.
Then repeats the arithmetic of PyTorch, which gets a slightly different norm.

    python bindings/python/examples/walk_through.py
    python bindings/python/examples/walk_through.py --max-norm 50 --norm-type 3
"""

from __future__ import annotations

import argparse
import math
import struct
from array import array
from collections.abc import Sequence

from gradclip import GradClipError, clip_grad_norm, get_total_norm

X = (99.0, 108.0)
Y = (45.0, 75.0)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--max-norm", type=float, default=100.0, help="default: %(default)s")
    parser.add_argument(
        "--norm-type",
        type=float,
        action="append",
        metavar="P",
        help="the order of the norm; may be given several times; default: 2, 1 and inf",
    )
    arguments = parser.parse_args(argv)
    try:
        show(arguments.max_norm, arguments.norm_type or (2.0, 1.0, math.inf))
    except GradClipError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def show(max_norm: float, norm_types: Sequence[float]) -> None:
    grads = gradients(X, Y)
    print("The function is z = sum(x^2) + sum(y^3), at")
    print(f"  x = {_vector(X)}    y = {_vector(Y)}")
    print("Its gradient is what a small step of each x and y changes z by:")
    for name, grad in grads.items():
        print(f"  dz/d{name} = {_vector(grad)}")
    for norm_type in norm_types:
        print()
        walk_through(grads, max_norm, norm_type)
    print()
    compare_with_float32(grads)


# ------------------------------------------------------------- the gradient --


class _Dual:
    """A number with its derivatives by all variables: forward differentiation.

    Enough of it for the function above, so that the gradients are computed from
    the function instead of being written down beside it.
    """

    def __init__(self, value: float, derivatives: Sequence[float]) -> None:
        self.value = value
        self.derivatives = derivatives

    def __add__(self, other: _Dual) -> _Dual:
        return _Dual(
            self.value + other.value,
            [a + b for a, b in zip(self.derivatives, other.derivatives)],
        )

    def __pow__(self, exponent: int) -> _Dual:
        slope = exponent * self.value ** (exponent - 1)
        return _Dual(self.value**exponent, [slope * d for d in self.derivatives])


def gradients(x: Sequence[float], y: Sequence[float]) -> dict[str, array[float]]:
    """The gradients of z by x and by y."""
    values = [*x, *y]
    variables = [
        _Dual(value, [float(i == j) for j in range(len(values))]) for i, value in enumerate(values)
    ]
    terms = [v**2 for v in variables[: len(x)]] + [v**3 for v in variables[len(x) :]]
    z = terms[0]
    for term in terms[1:]:
        z = z + term
    return {
        "x": array("d", z.derivatives[: len(x)]),
        "y": array("d", z.derivatives[len(x) :]),
    }


# ----------------------------------------------------------- the walk-through --


def walk_through(grads: dict[str, array[float]], max_norm: float, norm_type: float) -> None:
    clipped, norm = clip_grad_norm(grads, max_norm, norm_type, eps=0.0, tensor_norms=True)
    p = "inf" if math.isinf(norm_type) else f"{norm_type:g}"
    title = f"Clipping by the norm of order p = {p}, max_norm = {max_norm:g}"
    print(title)
    print("-" * len(title))
    assert norm.tensor_norms is not None
    print("1. The norm of each gradient:")
    for (name, grad), tensor_norm in zip(grads.items(), norm.tensor_norms):
        print(f"     {name}: {_formula(grad, norm_type)} = {tensor_norm!r}")
    print("2. The norm of these norms is the norm of all gradients together:")
    print(f"     total_norm = {_formula(norm.tensor_norms, norm_type)} = {norm!r}")
    print("3. The coefficient brings it down to max_norm, and is at most 1:")
    print(f"     clip_coef = min(1, max_norm / total_norm) = {norm.clip_coef!r}")
    print("4. Each gradient times the coefficient:")
    for name, grad in clipped.items():
        print(f"     {name}: {_vector(grad)}")
    after = get_total_norm(clipped, norm_type)
    print(f"   Their norm is now {after!r}.")
    with_eps = clip_grad_norm(grads, max_norm, norm_type)[1]
    print(
        f"   (With eps = 1e-6 added to total_norm, as PyTorch does and as is the default here,\n"
        f"   the coefficient is {with_eps.clip_coef!r}.)"
    )


def _formula(values: Sequence[float], norm_type: float) -> str:
    magnitudes = [_number(abs(value)) for value in values]
    if norm_type == math.inf:
        return f"max({', '.join(magnitudes)})"
    if norm_type == -math.inf:
        return f"min({', '.join(magnitudes)})"
    if norm_type == 0:
        return f"how many of {', '.join(magnitudes)} are not 0"
    if norm_type == 1:
        return " + ".join(magnitudes)
    powers = " + ".join(f"{magnitude}^{norm_type:g}" for magnitude in magnitudes)
    return f"sqrt({powers})" if norm_type == 2 else f"({powers})^(1/{norm_type:g})"


# --------------------------------------------------------- PyTorch's float32 --


def compare_with_float32(grads: dict[str, array[float]]) -> None:
    """Prints the library's norm and the one that PyTorch gets in float32, and why they differ."""
    norm = get_total_norm(grads)
    theirs = float32_total_norm(list(grads.values()))
    nearest = _float32(norm)
    print("PyTorch's norm of the same gradients")
    print("------------------------------------")
    print("PyTorch computes the norm of each tensor in float32, rounds it to float32, and takes")
    print("the norm of the rounded norms. The same arithmetic gives here:")
    for name, grad in grads.items():
        print(f"     {name}: {float32_norm(grad)!r}")
    print(f"     total_norm = {theirs!r}, printed by PyTorch as {theirs:.4f}")
    print(f"The library sums in float64 and rounds once: {norm!r}")
    print(f"  in float32 that is {nearest!r}.")
    apart = round((nearest - theirs) / _float32_spacing(nearest))
    if apart:
        print(
            f"So rounding each tensor's norm first has cost {abs(apart)} unit(s) in the last place"
        )
        print("of a float32: PyTorch's norm is not the float32 nearest to the true norm.")
    else:
        print("Here both roundings end at the same float32.")


def float32_norm(values: Sequence[float]) -> float:
    """The 2-norm with every operation rounded to float32."""
    total = 0.0
    for value in values:
        total = _float32(total + _float32(value * value))
    return _float32(math.sqrt(total))


def float32_total_norm(grads: Sequence[Sequence[float]]) -> float:
    return float32_norm([float32_norm(grad) for grad in grads])


def _float32(value: float) -> float:
    """The float32 nearest to value."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _float32_spacing(value: float) -> float:
    """The distance from a normal float32 to the next."""
    return math.ldexp(1.0, math.frexp(value)[1] - 24)


def _vector(values: Sequence[float] | array[float]) -> str:
    return f"[{', '.join(map(_number, values))}]"


def _number(value: float) -> str:
    return f"{value:.10g}"


if __name__ == "__main__":
    main()
