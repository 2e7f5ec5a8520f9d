"""Checkpoints are whole or absent, verified, and never run code."""

import errno
import os
import pickle
import shutil

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorrl.errors import CheckpointError
from actorrl.experiment import atomic_folder, checkpoints
from actorrl.experiment.checkpoints import (
    CheckpointKeeper,
    newest_whole,
    read_checkpoint,
    read_manifest,
    require,
    verify,
    write_checkpoint,
)

STATE = {
    "weights": {"layer.0": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.float32(2)},
    "counters": {"timesteps_total": 1000, "lr": 3e-4, "best": float("-inf")},
    "names": ["a", None, True],
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.uint8),
}


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_what_was_written_is_read_back(tmp_path):
    path = write_checkpoint(tmp_path / "c", STATE, {"algo": "A2C"}, sequence=5)
    state = read_checkpoint(path)
    np.testing.assert_array_equal(state["weights"]["layer.0"], STATE["weights"]["layer.0"])
    assert state["weights"]["bias"] == 2.0
    assert state["counters"] == STATE["counters"]
    assert state["names"] == STATE["names"]
    assert state["scalar"].shape == () and state["scalar"] == 7
    assert state["empty"].shape == (0, 4)
    assert read_manifest(path).about == {"algo": "A2C"}
    assert verify(path).sequence == 5
    assert files(tmp_path) == ["c", "c/arrays.safetensors", "c/manifest.json", "c/state.json"]


def test_arrays_that_were_read_may_be_written_to(tmp_path):
    state = read_checkpoint(write_checkpoint(tmp_path / "c", STATE))
    state["weights"]["layer.0"][:] = 1.0


def test_a_checkpoint_of_the_same_name_is_replaced(tmp_path):
    write_checkpoint(tmp_path / "c", {"x": 1})
    write_checkpoint(tmp_path / "c", {"x": 2})
    assert read_checkpoint(tmp_path / "c") == {"x": 2}
    assert files(tmp_path) == ["c", "c/arrays.safetensors", "c/manifest.json", "c/state.json"]


def test_what_cannot_be_stored_leaves_the_older_checkpoint_alone(tmp_path):
    write_checkpoint(tmp_path / "c", {"x": 1})
    with pytest.raises(TypeError, match="f: function"):
        write_checkpoint(tmp_path / "c", {"f": files})
    assert read_checkpoint(tmp_path / "c") == {"x": 1}


@pytest.mark.parametrize("beside", [False, True])
def test_a_folder_that_is_no_checkpoint_is_never_replaced(tmp_path, beside):
    folder = tmp_path / "home"
    if beside:
        write_checkpoint(folder, {"x": 1})
    folder.mkdir(exist_ok=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"other files.*thesis\.tex"):
        write_checkpoint(folder, {"x": 2})
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_a_file_is_never_replaced(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(CheckpointError, match="is a file"):
        write_checkpoint(tmp_path / "file", {"x": 2})
    assert (tmp_path / "file").read_text() == "text"


def test_an_empty_folder_becomes_the_checkpoint(tmp_path):
    (tmp_path / "c").mkdir()
    assert read_checkpoint(write_checkpoint(tmp_path / "c", {"x": 2})) == {"x": 2}


@pytest.mark.parametrize("call", ["open", "fsync", "rename"])
def test_a_full_disk_at_any_step_keeps_the_older_checkpoint(tmp_path, monkeypatch, call):
    write_checkpoint(tmp_path / "c", {"x": 1})

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "open":
        monkeypatch.setattr(atomic_folder, "open", full, raising=False)
    else:
        monkeypatch.setattr(atomic_folder.os, call, full)
    with pytest.raises(CheckpointError, match="No space left"):
        write_checkpoint(tmp_path / "c", {"x": 2})
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "c") == {"x": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_of_checkpoints_or_of_a_run_names_the_newest_in_it(tmp_path):
    for number in (9, 10):
        newest = write_checkpoint(tmp_path / "checkpoints" / f"checkpoint_{number:06d}", STATE)
    for folder in (tmp_path, tmp_path / "checkpoints"):
        with pytest.raises(CheckpointError, match=f"no checkpoint, did you mean {newest}?"):
            read_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"`save\(\)` returns one's path"):
        read_checkpoint(tmp_path.parent)


def test_the_home_folder_may_be_written_as_in_a_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_checkpoint(tmp_path / "c", {"x": 1})
    assert read_checkpoint("~/c") == {"x": 1}


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "arrays.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    path = write_checkpoint(tmp_path / "c", STATE)
    (path / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["state.json", "arrays.safetensors"])
def test_a_truncated_file_is_named_with_both_sizes(tmp_path, name):
    path = write_checkpoint(tmp_path / "c", STATE)
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match=rf"{name} has {len(data) - 1} bytes.*{len(data)}"):
        read_checkpoint(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.floats(0, 1), bit=st.integers(0, 7), which=st.integers(0, 1))
def test_any_flipped_bit_is_noticed(tmp_path, position, bit, which):
    path = write_checkpoint(tmp_path / "c", STATE)
    target = path / ("state.json", "arrays.safetensors")[which]
    data = bytearray(target.read_bytes())
    data[int(position * (len(data) - 1))] ^= 1 << bit
    target.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def test_any_flipped_bit_of_the_manifest_is_noticed_or_changes_nothing(tmp_path):
    path = write_checkpoint(tmp_path / "c", STATE, {"lr": 1e-3, "spaces": (1, [2.5, None])}, 77)
    target = path / "manifest.json"
    whole, said = target.read_bytes(), checkpoints.read_manifest(path)
    noticed = 0
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        target.write_bytes(data)
        try:
            found = checkpoints.read_manifest(path)
        except CheckpointError:
            noticed += 1
        else:  # white space, or the name of its own hash
            assert msgspec.structs.replace(found, sha256=said.sha256) == said
    assert noticed > 7 * len(whole)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=300))
def test_a_manifest_of_any_bytes_is_refused_with_a_reason(tmp_path, data):
    path = write_checkpoint(tmp_path / "c", STATE)
    (path / "manifest.json").write_bytes(data)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{}", b'{"format_version": 1}', b'{"format_version": 99}', b"null"]
)
def test_a_manifest_of_another_form_or_version_is_refused(tmp_path, content):
    path = write_checkpoint(tmp_path / "c", STATE)
    (path / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"version|damaged"):
        read_checkpoint(path)


def forge(path, name, data):
    """Put `data` in the place of a file, with a manifest that agrees."""
    (path / name).write_bytes(data)
    manifest = checkpoints.read_manifest(path)
    manifest.files[name] = checkpoints._entry(data)
    (path / "manifest.json").write_bytes(checkpoints.sealed(manifest))


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("arrays.safetensors", b""),
        ("arrays.safetensors", b"\xff" * 8 + b"{}"),
        ("arrays.safetensors", safetensors.numpy.save({"other": np.zeros(2)})),
        ("arrays.safetensors", pickle.dumps(Bomb())),
        ("state.json", pickle.dumps(Bomb())),
        ("state.json", b"[1, 2]"),
        ("state.json", b"[" * 100_000),
        ("state.json", b'{"a": {"__float__": "x"}}'),
        ("state.json", b'{"a": {"__float__": 1' + b"0" * 400 + b"}}"),
        ("state.json", b'{"a": {"__array__": ["weights"]}}'),
        ("state.json", b"\xff\xfe"),
    ],
)
def test_a_forged_checkpoint_is_refused_and_never_executed(tmp_path, monkeypatch, name, data):
    monkeypatch.chdir(tmp_path)
    path = write_checkpoint(tmp_path / "c", STATE)
    forge(path, name, data)
    with pytest.raises(CheckpointError, match="do not form a state"):
        read_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_in_a_checkpoint_s_place_is_refused_and_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="a checkpoint is a folder"):
        read_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "folder").mkdir()
    shutil.move(tmp_path / "checkpoint", tmp_path / "folder" / "checkpoint")
    with pytest.raises(CheckpointError, match=r"no manifest\.json"):
        read_checkpoint(tmp_path / "folder")
    with pytest.raises(CheckpointError, match="no such"):
        read_checkpoint(tmp_path / "absent")
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_something_else_is_refused_naming_both(tmp_path):
    path = write_checkpoint(tmp_path / "c", {}, {"algo": "A2C", "shape": (4,)})
    manifest = read_manifest(path)
    require(path, manifest, algo="A2C", shape=(4,))
    with pytest.raises(CheckpointError, match="algo is 'A2C', this run has 'APEX'"):
        require(path, manifest, algo="APEX")
    with pytest.raises(CheckpointError, match="env is None"):
        require(path, manifest, env="CartPole-v1")


# ---- a run's checkpoints ------------------------------------------------------------------------


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_checkpoints_are_named_by_iteration_and_all_are_kept(run):
    keeper = CheckpointKeeper(run)
    for iteration in (1, 10, 200):
        path = keeper.save(iteration, {"x": iteration}, {})
    assert path == run.path / "checkpoints" / "checkpoint_000200"
    assert names(run.checkpoints) == ["checkpoint_000001", "checkpoint_000010", "checkpoint_000200"]


def test_of_kept_checkpoints_the_newest_n_stay(run):
    keeper = CheckpointKeeper(run, keep=2)
    for iteration in (5, 3, 4):
        keeper.save(iteration, {"x": iteration}, {})
    assert names(run.checkpoints) == ["checkpoint_000003", "checkpoint_000004"]


def test_recovery_keeps_the_newest_two(run):
    keeper = CheckpointKeeper(run)
    for value in range(5):
        keeper.save_recovery({"x": value}, {})
    assert [read_checkpoint(p)["x"] for p in sorted(run.recovery.iterdir())] == [3, 4]


def test_the_newest_whole_one_is_of_either_kind_also_after_a_resume(run):
    assert newest_whole(run) is None
    CheckpointKeeper(run).save(1, {"x": 1}, {})
    CheckpointKeeper(run).save_recovery({"x": 2}, {})
    assert read_checkpoint(newest_whole(run)) == {"x": 2}
    CheckpointKeeper(run).save(3, {"x": 3}, {})
    assert read_checkpoint(newest_whole(run)) == {"x": 3}


def test_damaged_ones_are_passed_over_and_named(run):
    keeper = CheckpointKeeper(run)
    keeper.save(1, {"x": 1}, {})
    for i, name in enumerate(["state.json", "manifest.json"]):
        (keeper.save(i + 2, {"x": i + 2}, {}) / name).write_bytes(b"x")
    damaged: list[str] = []
    assert newest_whole(run, damaged).name == "checkpoint_000001"
    assert len(damaged) == 1 and "checkpoint_000002" in damaged[0]


def test_what_a_crash_left_half_written_is_no_checkpoint_and_is_removed(run):
    keeper = CheckpointKeeper(run)
    whole = keeper.save(1, {"x": 1}, {})
    shutil.copytree(whole, run.checkpoints / ".checkpoint_000002.99.new")
    shutil.copytree(whole, run.recovery / ".recovery_000001.99.old")
    assert newest_whole(run) == whole
    CheckpointKeeper(run)
    assert names(run.checkpoints) == ["checkpoint_000001"] and names(run.recovery) == []


def test_recovery_is_due_at_once_and_then_once_per_interval(run):
    keeper = CheckpointKeeper(run, recovery_interval_s=60.0)
    due = [now for now in range(1000, 1200, 10) if keeper.recovery_due(float(now))]
    assert due == [1000, 1060, 1120, 1180]
