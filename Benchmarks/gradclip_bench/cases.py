"""What is measured, and what each case is to reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from . import shapes


@dataclass(frozen=True)
class Case:
    """One row of the table.

    job         "norm": clip by global norm; "value": clip by value; "exact": the norm
                of float64 gradients with exact_f64 against the default; "plain": the
                norm on one thread against a loop written by hand
    clips       whether the calls have to write
    roof        the passes over memory that cannot be avoided: "read", "read-write"
                (in place), or both, one after the other
    against     what the contestants' times are to be a multiple of, at least:
                {"gradclip": 2.5} means that torch takes 2.5 times as long
    of_roof     what part of the roof is to be reached
    """

    name: str
    shapes: list[tuple[int, ...]] = field(repr=False)
    dtype: str = "float32"
    job: str = "norm"
    norm_type: float = 2.0
    clips: bool = False
    unscales: bool = False
    roof: tuple[str, ...] = ()
    against: dict[str, float] = field(default_factory=dict)
    of_roof: float | None = None

    @property
    def writes(self) -> bool:
        return self.clips or self.unscales


READ = ("read",)
BOTH = ("read", "read-write")
WRITE = ("read-write",)


def table() -> list[Case]:
    gpt2 = shapes.gpt2()
    many = shapes.equal(160, 150_000)
    large = shapes.equal(12, 2_000_000)
    small = shapes.equal(10_000, 1000)
    tiny = shapes.equal(2000, 16)
    cases = [
        Case("GPT-2 124M, nothing to clip", gpt2, roof=READ, against={"gradclip": 2.5}, of_roof=0.8),
        Case("GPT-2 124M, clipping", gpt2, clips=True, roof=BOTH, against={"gradclip": 1.3}, of_roof=0.8),
        Case(
            "GPT-2 124M, unscale + clip", gpt2, clips=True, unscales=True, roof=BOTH,
            against={"gradclip": 2}, of_roof=0.8,
        ),
    ]  # fmt: skip
    for p, least, of_roof in ((1.0, 5, 0.7), (2.0, None, None), (inf, 12, 0.7), (3.0, 20, 0.7), (2.7, 4, None)):
        name = f"160 x 150k, p = {p:g}, nothing to clip"
        against = {"gradclip": least} if least else {}
        cases.append(Case(name, many, norm_type=p, roof=READ, against=against, of_roof=of_roof))
    cases.append(Case("12 x 2M fp32, nothing to clip", large, roof=READ))
    for dtype, short, least in (("bfloat16", "bf16", 4), ("float16", "fp16", 8), ("float64", "fp64", 2.5)):
        name = f"12 x 2M {short}, nothing to clip"
        cases.append(Case(name, large, dtype, roof=READ, against={"gradclip": least}, of_roof=0.6))
    cases += [
        Case("12 x 2M by value, nothing beyond", large, job="value", roof=READ, against={"gradclip": 2.5}, of_roof=0.8),
        Case(
            "12 x 2M by value, half beyond", large, job="value", clips=True, roof=WRITE,
            against={"gradclip": 2}, of_roof=0.8,
        ),
        Case(
            "10 000 x 1000, clipping", small, clips=True,
            against={"gradclip": 15, "gradclip Plan": 12, "gradclip Python": 3.5},
        ),
        Case(
            "2000 x 16, clipping", tiny, clips=True,
            against={"gradclip": 150, "gradclip Plan": 60, "gradclip Python": 5},
        ),
        Case(
            "six small (MLP), clipping", shapes.mlp(), clips=True,
            against={"gradclip Plan": 12, "gradclip Python": 5},
        ),
        Case("12 x 2M fp64, exact_f64", large, "float64", job="exact"),
        Case("24M fp32 in DRAM, one thread", shapes.equal(1, 24_000_000), job="plain"),
        Case("100k fp32 in L2, one thread", shapes.equal(1, 100_000), job="plain"),
    ]  # fmt: skip
    return cases
