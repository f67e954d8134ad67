"""gradclip.flower inside Flower: its server, strategies, client mods and transport, with and without."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

flwr = pytest.importorskip("flwr")
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod  # noqa: E402
from flwr.serverapp import strategy as strategies  # noqa: E402
from flwr.supercore import differential_privacy as theirs  # noqa: E402
from flwr.supercore.task_identity import TaskIdentity  # noqa: E402

import gradclip.flower as flower  # noqa: E402

HERE = Path(__file__).parent


def federation(whose, rule, kind):
    """Two rounds on the loopback interface, in processes of their own."""
    run = subprocess.run(
        [sys.executable, str(HERE / "federation.py"), whose, rule, kind],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0"},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    found["rounds"] = [[np.array(a) for a in arrays] for arrays in found["rounds"]]
    return found


RULES = ("fixed", "adaptive")


@pytest.mark.parametrize("rule", RULES)
def test_a_federation_without_trouble_has_the_same_model(rule, compared):
    ours, flower_s = federation("ours", rule, "none"), federation("theirs", rule, "none")
    assert ours["ended"] == flower_s["ended"] == "done" and len(ours["rounds"]) == 2
    for a, b in zip(ours["rounds"], flower_s["rounds"]):
        for x, y in zip(a, b):
            compared(f"{rule} clipping on the server, two rounds", x, y, 1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_a_client_with_a_nan_ruins_the_model_of_flower_only(rule, finding):
    ours, flower_s = federation("ours", rule, "nan"), federation("theirs", rule, "nan")
    assert all(np.isfinite(a).all() for arrays in ours["rounds"] for a in arrays)
    assert math.isnan(flower_s["rounds"][0][0][2])
    finding(f"{rule} clipping: a client's NaN goes into the model, and its update is not clipped")


@pytest.mark.parametrize("rule", RULES)
def test_an_update_of_zeros_stops_the_round_of_flower_only(rule, finding):
    ours, flower_s = federation("ours", rule, "zero"), federation("theirs", rule, "zero")
    assert ours["ended"] == "done" and len(ours["rounds"]) == 2
    # numpy's division gives NaN where Python's raises: either way there is no good round
    assert not flower_s["rounds"] or not all(np.isfinite(a).all() for a in flower_s["rounds"][0])
    finding(f"{rule} clipping: an update of zeros is divided by its norm: {flower_s['ended']}")


@pytest.mark.parametrize("rule", RULES)
def test_a_counter_of_integers_stops_the_round_of_flower_only(rule, finding):
    ours, flower_s = federation("ours", rule, "counter"), federation("theirs", rule, "counter")
    assert ours["ended"] == "done" and len(ours["rounds"]) == 2
    assert ours["rounds"][0][2] == 3 + (0 + 1 + 2 + 3) / 4
    assert flower_s["ended"] != "done"
    finding(f"{rule} clipping: an array of integers: {flower_s['ended'].splitlines()[0][:90]}")


@pytest.mark.parametrize("rule", RULES)
def test_3e38_is_clipped_and_not_lost(rule, finding):
    ours, flower_s = federation("ours", rule, "huge"), federation("theirs", rule, "huge")
    moved = ours["rounds"][0][0] - np.float32([1, 2, 3, 4])
    assert moved[1] > 0.75 and np.isfinite(moved).all()  # three clients moved it by 1 each
    moved = flower_s["rounds"][0][0] - np.float32([1, 2, 3, 4])
    assert moved[1] < 0.3
    finding(f"{rule} clipping: an update of 3e38 becomes zeros: its norm overflowed in float32")


@pytest.mark.parametrize("rule", RULES)
def test_float16_clients_are_clipped(rule):
    ours = federation("ours", rule, "half")
    assert ours["ended"] == "done" and len(ours["rounds"]) == 2


def test_a_client_that_sends_another_shape_is_named():
    assert "array 0 has the shape (2,), the model's (4,)" in federation("ours", "fixed", "shape")["ended"]


# ------------------------------------------------- the newer API, in this process --


class Nodes:
    """Flower's Grid as far as a strategy uses it: two nodes that run a ClientApp here."""

    def __init__(self, app):
        self.app = app
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1

    def get_node_ids(self):
        return [1, 2]

    def send_and_receive(self, messages, *, timeout=None):
        replies = []
        for message in messages:
            # What Flower sets where a message goes over the wire.
            message.metadata.__dict__["_src_node_id"] = 0
            message.metadata.__dict__["_message_id"] = str(len(replies))
            context = Context(
                run_id=1, node_id=message.metadata.dst_node_id, node_config={}, run_config={},
                state=RecordDict(),
            )
            replies.append(self.app(message, context))
        return replies


def client_app(mods, change):
    app = ClientApp(mods=mods)

    @app.train()
    def train(message, context):
        arrays = message.content["arrays"].to_numpy_ndarrays()
        changed = [a + u for a, u in zip(arrays, change(context.node_id))]
        return Message(
            content=RecordDict(
                {
                    "arrays": ArrayRecord(changed),
                    "metrics": MetricRecord({"num-examples": 1}),
                }
            ),
            reply_to=message,
        )

    return app


def trained(kind, mods, change, **arguments):
    inner = strategies.FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2)
    strategy = getattr(strategies, kind)(inner, 0.0, num_sampled_clients=2, **arguments)
    start = ArrayRecord([np.float32([1, 2]), np.float32([3])])
    result = strategy.start(Nodes(client_app(mods, change)), start, num_rounds=1)
    return [a - b for a, b in zip(result.arrays.to_numpy_ndarrays(), start.to_numpy_ndarrays())]


KINDS = [
    ("DifferentialPrivacyServerSideFixedClipping", [], {"clipping_norm": 1.0}),
    ("DifferentialPrivacyServerSideAdaptiveClipping", [], {"initial_clipping_norm": 1.0}),
    ("DifferentialPrivacyClientSideFixedClipping", [fixedclipping_mod], {"clipping_norm": 1.0}),
    ("DifferentialPrivacyClientSideAdaptiveClipping", [adaptiveclipping_mod], {"initial_clipping_norm": 1.0}),
]


@pytest.mark.parametrize(("kind", "mods", "arguments"), KINDS, ids=[k[0] for k in KINDS])
def test_strategies_and_mods_of_the_newer_api(kind, mods, arguments, compared):
    def large(node):
        return [np.float32([3, 0]) * node, np.float32([4]) * node]

    expected = trained(kind, mods, large, **arguments)
    with flower.patch():
        got = trained(kind, mods, large, **arguments)
        bad = trained(kind, mods, lambda n: [np.float32([3, 0]), np.float32([4 if n == 1 else np.nan])],
                      **arguments)  # fmt: skip
    for a, b in zip(got, expected):
        compared("the newer API's strategies and client mods", a, b, 1e-6, 1e-7)
    assert math.hypot(*got[0], *got[1]) <= 1
    np.testing.assert_allclose(np.concatenate(bad), np.float32([0.3, 0, 0.4]), rtol=1e-5)


# ------------------------------------------------------------------- the patch --


def test_patch_reaches_every_holder_and_is_taken_back():
    from flwr.server.strategy import dp_fixed_clipping

    before = theirs.compute_clip_model_update
    patched = flower.patch()
    assert dp_fixed_clipping.compute_clip_model_update is flower.compute_clip_model_update
    assert theirs.get_norm is flower.get_norm
    assert len(patched.names) >= 10
    again = flower.patch()
    patched.undo()
    again.undo()
    assert theirs.compute_clip_model_update is before
    assert dp_fixed_clipping.compute_clip_model_update is before


def test_another_flower_is_refused_by_its_version(monkeypatch):
    def get_norm(arrays):
        return 0.0

    monkeypatch.setattr(theirs, "get_norm", get_norm)
    with pytest.raises(ImportError, match=rf"flwr {flwr.__version__} is not known .*get_norm"):
        flower.patch()
    with pytest.raises(ValueError, match=r"norm_bit must be .* \(got 'both'\)"):
        flower.patch("both")


def limits_over_rounds(norm_bit, norm):
    """The adaptive limit over 60 rounds in which both clients' updates have this norm."""
    with flower.patch(norm_bit=norm_bit):
        inner = strategies.FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2)
        strategy = strategies.DifferentialPrivacyServerSideAdaptiveClipping(
            inner, 0.0, 2, initial_clipping_norm=1.0
        )
        app = client_app([], lambda node: [np.float32([norm])])
        strategy.start(Nodes(app), ArrayRecord([np.float32([0])]), num_rounds=60)
    return strategy.clipping_norm


def test_the_adaptive_limit_finds_the_updates_with_the_bit_of_the_paper(finding):
    assert 2.5 < limits_over_rounds("unclipped", 3.0) < 3.5
    assert 0.2 < limits_over_rounds("unclipped", 0.25) < 0.3
    assert limits_over_rounds("clipped", 3.0) < 0.01  # Flower's: ever smaller, all are clipped
    assert limits_over_rounds("clipped", 0.25) > 100  # or ever larger, none is
    finding(
        "the adaptive limit runs away: Flower's rule lowers it when more than the share asked "
        "for are clipped. patch(norm_bit='unclipped') has the sign of arXiv 1905.03871"
    )


# ----------------------------------------------------------------- a million --


def contribution_is_within(arrays, limit):
    """Exactly. Long double decides where its own rounding cannot, rationals elsewhere."""
    from fractions import Fraction

    square = sum(float_sum(np.square(a.astype("longdouble"))) for a in arrays)
    bound = np.longdouble(limit) ** 2
    if square <= bound * (1 - np.longdouble(2) ** -55):
        return True
    exact = sum(Fraction(float(v)) ** 2 for a in arrays for v in a.ravel())
    return exact <= Fraction(limit) ** 2


def float_sum(squares):
    return squares.sum() if squares.size else np.longdouble(0)


def test_a_million_hostile_updates_and_none_above_the_limit(finding):
    from hostile_updates import hostile

    rng = np.random.default_rng(20)
    count = int(os.environ.get("GRADCLIP_UPDATES", 1_000_000))
    above = 0
    for start in range(0, count, 1000):
        dtype = (np.float16, np.float32, np.float64)[start // 1000 % 3]
        pool = [hostile(rng, dtype, 8) for _ in range(500)]
        limits = np.exp2(rng.uniform(-30, 30, 1000)).tolist()
        cuts = rng.integers(1, 8, 1000).tolist()
        picks = rng.integers(0, 500, 1000).tolist()
        for limit, cut, pick in zip(limits, cuts, picks):
            update = [pool[pick][:cut].copy(), pool[-pick][cut:].copy()]
            flower_s = [a.copy() for a in update]
            flower.clip_inputs_inplace(update, limit)
            made = [np.asarray(a) for a in update]
            assert contribution_is_within(made, limit), (dtype, limit, update)
            if start < 3000:
                with np.errstate(all="ignore"):
                    try:
                        theirs.clip_inputs_inplace(flower_s, limit)
                    except (ZeroDivisionError, TypeError):
                        continue
                above += not contribution_is_within(flower_s, limit)
    finding(
        f"of {count} hostile updates none ends above clipping_norm with the patch; of the first 3000 "
        f"{above} do with Flower's own function"
    )
