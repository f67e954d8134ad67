"""TensorBoard event files: every record, checked, in both ways that scalars are written."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from tensorboardX import SummaryWriter
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.proto.tensor_pb2 import TensorProto

from gradclip._advise.log import LogError
from gradclip._advise.readers import read
from gradclip._advise.readers.crc import masked_crc32c
from gradclip._advise.sampling import sampling_of


def record(data):
    """A TFRecord, with tensorboardX's own checksum."""

    def masked(piece):
        crc = crc32c(piece)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def scalar(tag, step, value):
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    return record(Event(step=step, summary=summary).SerializeToString())


def test_checksums_are_those_of_tensorboardx():
    rng = np.random.default_rng(1)
    strings = [b"", b"\0", b"123456789", *(rng.bytes(n) for n in (1, 2, 63, 64, 500, 500))]
    expected = [(((c >> 15) | (c << 17)) + 0xA282EAD8) & 0xFFFFFFFF for c in map(crc32c, strings)]
    assert masked_crc32c(strings).tolist() == expected


def test_more_points_than_event_accumulator_keeps(tmp_path):
    """EventAccumulator would give 10 000 of these."""
    norms = np.random.default_rng(2).lognormal(0, 0.3, 12_000).astype(np.float32)
    with SummaryWriter(str(tmp_path), flush_secs=1000) as writer:
        for step, norm in enumerate(norms):
            writer.add_scalar("train/grad_norm", float(norm), step)
            if step % 100 == 0:
                writer.add_scalar("train/lr", 0.1 / (1 + step), step)
        writer.add_histogram("weights", np.arange(10.0), 1)
        writer.add_text("note", "hello", 1)
    found = read(str(tmp_path))
    assert np.array_equal(found.norm, norms.astype(float))
    assert found.step.tolist() == list(range(12_000))
    assert found.learning_rate[[0, 99, 100]] == pytest.approx([0.1, 0.1, 0.1 / 101])
    assert "'train/grad_norm'" in found.taken[0] and sampling_of(found).every


def tensors_of(value):
    yield TensorProto(dtype=1, float_val=[value])
    yield TensorProto(dtype=2, double_val=[value])
    yield TensorProto(dtype=1, tensor_content=np.float32(value).tobytes())
    yield TensorProto(dtype=2, tensor_content=np.float64(value).tobytes())
    yield TensorProto(dtype=19, tensor_content=np.float16(value).tobytes())
    yield TensorProto(dtype=14, tensor_content=np.float32(value).tobytes()[2:])


@pytest.mark.parametrize("kind", range(6))
@pytest.mark.parametrize("value", [1.5, float("inf"), float("nan")])
def test_scalars_written_as_tensors(tmp_path, kind, value):
    path = tmp_path / "events.out.tfevents.1"
    data = b""
    for step in (1, 2):
        summary = Summary(
            value=[Summary.Value(tag="grad_norm", tensor=list(tensors_of(value))[kind])]
        )
        data += record(Event(step=step, summary=summary).SerializeToString())
    path.write_bytes(data)
    assert np.array_equal(read(str(path)).norm, [value, value], equal_nan=True)


def test_a_cut_off_end_keeps_what_is_whole(tmp_path):
    path = tmp_path / "log"  # known by its content, not by its name
    data = b"".join(scalar("grad_norm", i, float(i)) for i in range(20))
    size = len(data) // 20
    for cut in (1, 5, 11, 12, 20, size - 1):
        path.write_bytes(data[: -size + cut])
        found = read(str(path))
        assert found.norm.tolist() == [float(i) for i in range(19)]
        assert "ends in the middle of a record" in found.notes[0]


def test_a_damaged_record_is_left_out(tmp_path):
    path = tmp_path / "log"
    good = [scalar("grad_norm", i, float(i)) for i in range(20)]
    spoilt = bytearray(good[7])
    spoilt[20] ^= 1
    path.write_bytes(b"".join([*good[:7], bytes(spoilt), *good[8:]]))
    found = read(str(path))
    assert found.step.tolist() == [i for i in range(20) if i != 7]
    assert "1 record(s) are damaged" in found.notes[0]


def test_a_damaged_length_ends_the_reading(tmp_path):
    path = tmp_path / "log"
    good = [scalar("grad_norm", i, float(i)) for i in range(20)]
    spoilt = bytearray(good[7])
    spoilt[0] ^= 1
    path.write_bytes(b"".join([*good[:7], bytes(spoilt), *good[8:]]))
    found = read(str(path))
    assert found.step.tolist() == list(range(7))
    assert "length of a record is wrong" in " ".join(found.notes)


def test_files_of_a_resumed_run_are_read_in_order(tmp_path):
    first = b"".join(scalar("grad_norm", i, 1.0) for i in range(10))
    second = b"".join(scalar("grad_norm", i, 2.0) for i in range(6, 15))
    (tmp_path / "events.out.tfevents.1700000000.host").write_bytes(first)
    (tmp_path / "events.out.tfevents.1700009999.host").write_bytes(second)
    found = read(str(tmp_path))
    assert found.step.tolist() == list(range(15))
    assert found.norm.tolist() == [1.0] * 6 + [2.0] * 9


def test_norms_of_tensors(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(
        b"".join(
            scalar(f"grad_2.0_norm/{name}", step, value)
            for step in range(3)
            for name, value in (("a", 3.0), ("b", 4.0 if step < 2 else float("nan")))
        )
    )
    found = read(str(path))
    assert np.array_equal(found.norm, [5, 5, np.nan], equal_nan=True)
    assert found.tensors.names == ["a", "b"] and found.tensors.largest.tolist() == [1, 1, 1]


def test_without_a_norm_the_tags_are_listed(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(scalar("loss", 1, 1.0) + scalar("my_tag", 1, 1.0) + scalar("my_tag", 2, 2.0))
    with pytest.raises(
        LogError, match=r"no tag of gradient norms; its scalars are 'loss', 'my_tag'"
    ):
        read(str(path))
    assert read(str(path), column="my_tag").norm.tolist() == [1.0, 2.0]
