"""Event files, read with tensorboardX's own messages and checksum."""

import math
import struct

import pytest

from actorrl.experiment.results import ResultWriter
from actorrl.experiment.tensorboard import EventFile, _crc32c


def read_events(path):
    """All events; asserts both checksums of every record."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    from tensorboardX.record_writer import masked_crc32c

    data, events = path.read_bytes(), []
    while data:
        length, length_crc = struct.unpack("<QI", data[:12])
        body, (body_crc,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length :][:4])
        assert length_crc == masked_crc32c(data[:8]) and body_crc == masked_crc32c(body)
        events.append(event_pb2.Event.FromString(body))
        data = data[16 + length :]
    return events


def test_the_checksum_is_that_of_the_standard():
    assert _crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C


def test_scalars_are_read_back(tmp_path):
    file = EventFile(tmp_path)
    file.write(0, {"a": 1.5}, wall_time=1000.25)
    file.write(123_456_789, {"episode_reward_mean": -20.5, "info/lr": 3e-4, "ü": 1e300})
    (path,) = tmp_path.glob("events.out.tfevents.*")
    version, first, second = read_events(path)
    assert version.file_version == "brain.Event:2"
    assert (first.step, first.wall_time) == (0, 1000.25)
    assert [(v.tag, v.simple_value) for v in first.summary.value] == [("a", 1.5)]
    assert second.step == 123_456_789
    values = {v.tag: v.simple_value for v in second.summary.value}
    assert values["episode_reward_mean"] == -20.5
    assert math.isclose(values["info/lr"], 3e-4, rel_tol=1e-6)
    assert math.isfinite(values["ü"])


def test_rows_become_events_over_env_steps_without_what_is_no_number(run):
    writer = ResultWriter(run)
    writer.write({"timesteps_total": 50, "episode_reward_mean": math.nan, "info": {"name": "x"}})
    (path,) = run.path.glob("events.out.tfevents.*")
    _, event = read_events(path)
    assert event.step == 50
    assert [v.tag for v in event.summary.value] == ["timesteps_total"]


def test_two_writers_of_one_second_get_their_own_files(tmp_path):
    EventFile(tmp_path).write(1, {"a": 1.0}, wall_time=5.0)
    EventFile(tmp_path).write(2, {"a": 2.0}, wall_time=5.0)
    assert len(list(tmp_path.iterdir())) == 2
