"""What the tests of hostile objects share: the calls, and what a refusal is.

GRADCLIP_EXAMPLES is how many examples each property gets (200): for a long run
GRADCLIP_EXAMPLES=100000 python -m pytest tests/test_hostile_*.py.
"""

import os
from array import array

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import gradclip

EXAMPLES = int(os.environ.get("GRADCLIP_EXAMPLES", "200"))
hostile = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)

IN_PLACE = {
    "clip_grad_norm_": lambda grads: gradclip.clip_grad_norm_(grads, 0.5),
    "clip_grads_with_norm_": lambda grads: gradclip.clip_grads_with_norm_(grads, 0.5, 5.0),
    "clip_grad_value_": lambda grads: gradclip.clip_grad_value_(grads, 0.5),
    "Plan": lambda grads: gradclip.Plan(grads).clip_grad_norm_(0.5),
}
READING = {
    "clip_grad_norm": lambda grads: gradclip.clip_grad_norm(grads, 0.5),
    "get_total_norm": gradclip.get_total_norm,
    "defer_clip": lambda grads: gradclip.defer_clip(grads, 0.5),
    "inspect": gradclip.inspect,
    "accumulator": lambda grads: gradclip.Accumulator().add(grads),
}
ALL = {**IN_PLACE, **READING}
calls = st.sampled_from(list(ALL))

# What a refusal is; a NotImplementedError is one too (another device).
REFUSALS = (TypeError, ValueError, BufferError, gradclip.GradClipError)


def neighbours():
    return np.array([3.0, 4.0]), array("f", [5.0, 12.0])


def refused(call, middle, message=r"^grads\[1\]", kind=REFUSALS):
    """The call refuses a list with this in its middle, names it, and writes nothing around it."""
    first, last = neighbours()
    with pytest.raises(kind, match=message) as caught:
        ALL[call]([first, middle, last])
    assert first.tolist() == [3.0, 4.0] and last.tolist() == [5.0, 12.0]
    return caught.value


class Enough(Exception):
    """What the objects raise that are not the package's to catch."""


junk = st.one_of(
    st.none(), st.integers(), st.text(max_size=3), st.binary(max_size=3), st.floats(),
    st.just(()), st.just((None, None)), st.builds(object), st.just([1, 2]),
    st.sampled_from([RuntimeError("out of luck"), KeyError("key"), RecursionError(), OSError(5)]),
)  # fmt: skip
