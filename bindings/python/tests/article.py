"""The article's example, for the tests: z = sum of x^2 + sum of y^3, and what it prints.

The gradients are derived here, apart from how the package derives them.
"""

import math

X = [99.0, 108.0]
Y = [45.0, 75.0]
MAX_NORM = 100.0


def gradients():
    """dz/dx = 2x and dz/dy = 3y^2."""
    return [2 * x for x in X], [3 * y * y for y in Y]


# norm_type: the total norm, and the clipped gradients to four decimals
PRINTED = {
    2.0: (17937.589302913588, [1.1038, 1.2042], [33.8674, 94.0762]),
    1.0: (23364.0, [0.8475, 0.9245], [26.0015, 72.2265]),
    math.inf: (16875.0, [1.1733, 1.2800], [36.0, 100.0]),
}
