"""Saved accumulators and choosers from anywhere: taken or refused as a whole."""

import numpy as np
import pytest
from hostile import hostile, junk
from hypothesis import assume, given
from hypothesis import strategies as st

import gradclip


@hostile
@given(st.binary(max_size=300) | junk)
def test_accumulator_bytes_from_anywhere(data):
    accumulator = gradclip.Accumulator()
    accumulator.add(np.array([3.0, 4.0]))
    with pytest.raises((TypeError, ValueError, gradclip.GradClipError)):
        accumulator.merge(gradclip.Accumulator.from_bytes(data))
    assert accumulator.finish() == 5.0


@hostile
@given(st.data())
def test_accumulator_bytes_with_changes(data):
    accumulator = gradclip.Accumulator()
    accumulator.add(np.array([3.0, 4.0], "f4"))
    saved = bytearray(accumulator.to_bytes())
    at = data.draw(st.integers(0, len(saved) - 1))
    change = data.draw(st.integers(1, 255))
    saved[at] ^= change
    with pytest.raises(gradclip.BadDataError):
        gradclip.Accumulator.from_bytes(bytes(saved))


states = st.recursive(
    junk, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@hostile
@given(st.data())
def test_chooser_states_from_anywhere(data):
    chooser = gradclip.ZClip(warmup_steps=2)
    for norm in (1.0, 2.0, 3.0):
        chooser.feed(norm)
    good = chooser.state_dict()
    bad = data.draw(
        states
        | st.fixed_dictionaries({}, optional={key: states for key in good})
        | st.sampled_from(list(good)).flatmap(
            lambda key: states.map(lambda value: {**good, key: value})
        )
    )
    assume(bad != good)
    expected = chooser.feed(2.5)
    chooser.load_state_dict(good)
    try:
        chooser.load_state_dict(bad)
    except (TypeError, ValueError, gradclip.GradClipError):
        pass  # as it was
    else:
        assert bad["state"] == good["state"]
    assert repr(chooser.feed(2.5)) == repr(expected)
