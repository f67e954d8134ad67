"""Random gradients for the comparisons with packages that clip containers of arrays."""

import random

import numpy as np

SEED = 20261123
# How far an element of a dtype may be from the clipped double: the product is rounded once,
# float32's factor too; and what is too small to count.
ROUNDING = {"float32": 2e-7, "float64": 1e-15, "float16": 6e-4, "bfloat16": 4.2e-3}
TINY = {"float32": 1e-44, "float64": 0.0, "float16": 6e-8, "bfloat16": 1e-40}
# Not too many: JAX and TensorFlow compile for each.
SHAPES = [(), (1,), (33,), (7, 16), (3, 2, 5), (2, 1, 3, 2), (4097,), (10_000,)]
NORM = 1e-15  # of two norms that were both computed in float64


def random_tree(rng):
    """Nested dictionaries of float64 arrays, of a few thousand elements at most."""
    generator = np.random.default_rng(rng.getrandbits(32))

    def leaf():
        values = generator.standard_normal(rng.choice(SHAPES)) * 10.0 ** rng.choice([-2, 0, 0, 1])
        return np.array(values)  # of a 0-dimensional one NumPy makes a scalar

    tree = {f"layer{i}": {"w": leaf(), "b": leaf()} for i in range(rng.randrange(1, 5))}
    tree["scale"] = leaf()
    return tree


def leaves(tree):
    """The arrays of a tree or a list, dictionaries in the order of their keys, as JAX has it."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def mapped(function, tree):
    if isinstance(tree, dict):
        return {key: mapped(function, part) for key, part in tree.items()}
    return function(tree)


def flat(tree):
    """All elements as one float64 array."""
    return np.concatenate([np.asarray(leaf, "f8").ravel() for leaf in leaves(tree)])


def poison(rng, tree, values):
    """A copy of the tree in which some elements are one of values."""
    copied = mapped(np.array, tree)
    for leaf in rng.sample(leaves(copied), 2):
        leaf.flat[rng.randrange(leaf.size)] = rng.choice(values)
    return copied


def rng_of(seed):
    return random.Random(SEED + seed)
