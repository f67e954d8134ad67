"""The lists of gradients that are measured."""

from __future__ import annotations

from math import prod


def gpt2() -> list[tuple[int, ...]]:
    """GPT-2 124M: the 148 parameters of its state, the output layer tied to wte."""
    width, context, vocabulary, layers = 768, 1024, 50257, 12
    block = [
        (width,), (width,),  # ln_1
        (width, 3 * width), (3 * width,),  # attn.c_attn
        (width, width), (width,),  # attn.c_proj
        (width,), (width,),  # ln_2
        (width, 4 * width), (4 * width,),  # mlp.c_fc
        (4 * width, width), (width,),  # mlp.c_proj
    ]  # fmt: skip
    shapes = [(vocabulary, width), (context, width), *block * layers, (width,), (width,)]
    assert len(shapes) == 148 and sum(map(prod, shapes)) == 124_439_808
    return shapes


def mlp() -> list[tuple[int, ...]]:
    """A network for handwritten digits: 784-128-64-10."""
    return [(784, 128), (128,), (128, 64), (64,), (64, 10), (10,)]


def equal(count: int, length: int) -> list[tuple[int, ...]]:
    return [(length,)] * count
