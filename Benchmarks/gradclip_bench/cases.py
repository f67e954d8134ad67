"""What is measured, and what each case is to reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from . import shapes
from .asked import Asked, of_roof, times_as_long


@dataclass(frozen=True)
class Case:
    """One row of the table.

    job         "norm": clip by global norm; "value": clip by value; "exact": the norm
                of float64 gradients with exact_f64 against the default; "plain": the
                norm on one thread against a loop written by hand
    clips       whether the calls have to write
    roof        the passes over memory that cannot be avoided: "read", "read-write"
                (in place), or both, one after the other
    asked       what is to be reached
    """

    name: str
    shapes: list[tuple[int, ...]] = field(repr=False)
    dtype: str = "float32"
    job: str = "norm"
    norm_type: float = 2.0
    clips: bool = False
    unscales: bool = False
    roof: tuple[str, ...] = ()
    asked: list[Asked] = field(default_factory=list)

    @property
    def writes(self) -> bool:
        return self.clips or self.unscales


READ = ("read",)
BOTH = ("read", "read-write")
WRITE = ("read-write",)


def table(has_ifma: bool) -> list[Case]:
    """What is asked differs: a processor with AVX-512 IFMA reads faster than the exact sum can follow."""
    roof = 0.85 if has_ifma else 0.9
    gpt2 = shapes.gpt2()
    many = shapes.equal(160, 150_000)
    large = shapes.equal(12, 2_000_000)
    small = shapes.equal(10_000, 1000)
    tiny = shapes.equal(2000, 16)

    def torch(least: float, ours: str = "gradclip") -> Asked:
        return times_as_long("torch", ours, least=least)

    cases = []
    for p in (2.0, 1.0, inf):
        asked = [of_roof(READ, roof)] + ([torch(3.5 if has_ifma else 2.5)] if p == 2 else [])
        cases.append(Case(f"GPT-2 124M, p = {p:g}, nothing to clip", gpt2, norm_type=p, roof=READ, asked=asked))
    cases += [
        Case("GPT-2 124M, clipping", gpt2, clips=True, roof=BOTH, asked=[torch(1.5 if has_ifma else 1.1)]),
        Case(
            "GPT-2 124M, unscale + clip", gpt2, clips=True, unscales=True, roof=BOTH,
            asked=[of_roof(BOTH, roof), torch(1)],
        ),
    ]  # fmt: skip
    for p, least, part in ((1.0, 1, roof), (2.0, 1, roof), (inf, 1, roof), (3.0, 1, 0.7), (2.7, 7, None)):
        asked = [torch(least)] + ([of_roof(READ, part)] if part else [])
        cases.append(Case(f"160 x 150k, p = {p:g}, nothing to clip", many, norm_type=p, roof=READ, asked=asked))
    cases.append(Case("12 x 2M fp32, nothing to clip", large, roof=READ, asked=[torch(1)]))
    for dtype, short, part in (("bfloat16", "bf16", 0.7), ("float16", "fp16", 0.7), ("float64", "fp64", roof)):
        name = f"12 x 2M {short}, nothing to clip"
        cases.append(Case(name, large, dtype, roof=READ, asked=[of_roof(READ, part), torch(1)]))
    loop = "plain float64 loop"
    cases += [
        Case("12 x 2M by value, nothing beyond", large, job="value", roof=READ, asked=[of_roof(READ, roof), torch(1)]),
        Case(
            "12 x 2M by value, half beyond", large, job="value", clips=True, roof=WRITE,
            asked=[of_roof(WRITE, roof), torch(1)],
        ),
        Case("10 000 x 1000, clipping", small, clips=True, asked=[torch(15), torch(3.5, "gradclip Python")]),
        Case("2000 x 16, clipping", tiny, clips=True, asked=[torch(100), torch(5, "gradclip Python")]),
        Case("six small (MLP), clipping", shapes.mlp(), clips=True, asked=[torch(1), torch(1, "gradclip Python")]),
        Case("12 x 2M fp64, exact_f64", large, "float64", job="exact"),
        Case(
            "24M fp32 in DRAM, one thread", shapes.equal(1, 24_000_000), job="plain",
            asked=[times_as_long(loop, "gradclip", least=0.9 if has_ifma else 0.85)],
        ),
        Case(
            "100k fp32 in L2, one thread", shapes.equal(1, 100_000), job="plain",
            asked=[times_as_long(loop, "gradclip", least=0.55 if has_ifma else 0.45)],
        ),
    ]  # fmt: skip
    return cases
