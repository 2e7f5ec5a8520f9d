"""Written and read back: nothing is lost, doubled or joined wrongly."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from actorrl.data import columns as c
from actorrl.data.fragment import Fragment, single_group
from actorrl.data.sample_batch import SampleBatch
from actorrl.offline import dataset
from actorrl.offline.dataset import DatasetError
from actorrl.offline.reader import DatasetReader
from actorrl.offline.writer import DatasetWriter


def fragment(values: list[list[int]], ends: list[list[int]], age: list[int]) -> Fragment:
    """[T][B] observations, each a number; NEXT_STEP layout: the row after an end is none."""
    obs = np.array(values, np.float32)[:, :, None]  # [T+1, B, 1]
    rows, envs = len(values) - 1, len(values[0])
    terminateds = np.array(ends, bool)
    ages = np.zeros((rows + 1, envs), np.int32)
    valid = np.ones((rows, envs), bool)
    ages[0] = age
    for t in range(rows):
        if t and terminateds[t - 1].any():
            valid[t] = ~terminateds[t - 1]
        ages[t + 1] = np.where(valid[t], ages[t] + 1, 0)
    columns = {
        c.OBS: obs,
        c.AGE: ages,
        c.VALID: valid,
        c.ACTIONS: np.zeros((rows, envs), np.int64),
        c.REWARDS: np.ones((rows, envs), np.float32),
        c.TERMINATEDS: terminateds,
        c.TRUNCATEDS: np.zeros((rows, envs), bool),
    }
    return Fragment(single_group(columns), int(valid.sum()), 1)


def read(shard: Path, names: list[str]) -> SampleBatch:
    columns = dataset.read_schema(shard.parent).columns
    return dataset.read_shard(shard, {name: columns[name] for name in names})


def write_one_row(folder: Path) -> Path:
    """The shard."""
    writer = DatasetWriter(folder, worker_index=0)
    writer.write(fragment([[1], [2]], [[0]], [0]))
    writer.flush()
    return dataset.shards(folder)[0]


def test_an_episode_keeps_its_id_over_fragments_and_the_next_one_gets_another(
    tmp_path: Path,
) -> None:
    writer = DatasetWriter(tmp_path, worker_index=0)
    writer.write(fragment([[1], [2], [3]], [[0], [0]], [0]))
    writer.write(fragment([[3], [4], [10], [11]], [[1], [0], [0]], [2]))  # ends, reset, goes on
    writer.flush()
    rows = read(dataset.shards(tmp_path)[0], [c.OBS, c.EPS_ID])
    assert rows[c.OBS].ravel().tolist() == [1, 2, 3, 10]
    ids = rows[c.EPS_ID]
    assert ids[0] == ids[1] == ids[2] != ids[3]


def test_fragments_of_whole_episodes_have_as_many_columns_as_there_were_episodes(
    tmp_path: Path,
) -> None:
    writer = DatasetWriter(tmp_path, worker_index=0)
    for first, envs in ((10, 1), (20, 3), (30, 2)):
        numbers = [[first + env] * 3 for env in range(envs)]
        ends = [[[0] * envs, [1] * envs]]
        writer.write(fragment(np.array(numbers).T.tolist(), *ends, [0] * envs))
    writer.flush()
    rows = read(dataset.shards(tmp_path)[0], [c.OBS, c.EPS_ID])
    pairs = set(zip(rows[c.OBS].ravel().tolist(), rows[c.EPS_ID].tolist(), strict=True))
    assert len(rows[c.EPS_ID]) == 12
    assert len(pairs) == len({number for number, _ in pairs}) == len({i for _, i in pairs}) == 6


def test_two_runs_write_into_one_folder_and_neither_loses_a_row_or_an_id(tmp_path: Path) -> None:
    """At the same time, and by workers of the same index."""
    writers = [DatasetWriter(tmp_path, worker_index=worker) for worker in (0, 0, 1)]
    for _ in range(2):
        for writer in writers:
            writer.write(fragment([[1, 2], [3, 4]], [[0, 0]], [0, 0]))
            writer.flush()
    assert len(dataset.shards(tmp_path)) == 6
    ids = [read(shard, [c.EPS_ID])[c.EPS_ID] for shard in dataset.shards(tmp_path)]
    assert len(np.concatenate(ids)) == len(set(np.concatenate(ids).tolist())) == 12


def test_an_epoch_takes_every_row_once_and_epochs_differ_in_order(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, worker_index=0, max_shard_bytes=1)
    for first in range(0, 40, 4):
        writer.write(fragment([[first + i] for i in range(5)], [[0]] * 4, [0]))
    assert len(dataset.shards(tmp_path)) == 10
    reader = DatasetReader(tmp_path, columns=[c.OBS], batch_size=8, seed=3, pool_bytes=60)
    epochs = [np.concatenate([reader.next()[c.OBS].ravel() for _ in range(5)]) for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(40))
    assert epochs[0].tolist() != epochs[1].tolist()
    again = DatasetReader(tmp_path, columns=[c.OBS], batch_size=8, seed=3, pool_bytes=60)
    assert again.next()[c.OBS].ravel().tolist() == epochs[0][:8].tolist()


def test_rows_left_at_an_epochs_end_come_with_the_next(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, worker_index=0)
    writer.write(fragment([[i] for i in range(6)], [[0]] * 5, [0]))
    writer.flush()
    reader = DatasetReader(tmp_path, columns=[c.OBS], batch_size=3)
    rows = np.concatenate([reader.next()[c.OBS].ravel() for _ in range(10)])
    assert [np.count_nonzero(rows == i) for i in range(5)] == [6] * 5


def write_shards_of_six_rows(folder: Path, count: int) -> None:
    """In the i-th these are 10 * i and those that follow."""
    for worker in range(count):
        writer = DatasetWriter(folder, worker_index=worker)
        writer.write(fragment([[10 * worker + i] for i in range(7)], [[0]] * 6, [0]))
        writer.flush()


@pytest.mark.parametrize("shards_of_a_pool", [1, 2, 3])
@pytest.mark.parametrize("num_batches", [0, 1, 3, 5, 9])
def test_a_reader_goes_on_in_the_middle_of_an_epoch(
    num_batches: int, shards_of_a_pool: int, tmp_path: Path
) -> None:
    """Of 18 rows in three shards, and batches of 5: also where one begins an epoch."""
    write_shards_of_six_rows(tmp_path, 3)
    pool_bytes = shards_of_a_pool * 6 * 4

    def reader() -> DatasetReader:
        return DatasetReader(tmp_path, columns=[c.OBS], batch_size=5, seed=3, pool_bytes=pool_bytes)

    first, second = reader(), reader()
    for _ in range(num_batches):
        first.next()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for _ in range(9):
        assert second.state_dict() == first.state_dict()
        np.testing.assert_array_equal(second.next()[c.OBS], first.next()[c.OBS])
        assert second.num_epochs == first.num_epochs


def test_a_reader_that_goes_on_does_not_read_again_what_was_taken_as_a_whole(
    tmp_path: Path,
) -> None:
    """Of four pools of two shards, two and a half are taken."""
    write_shards_of_six_rows(tmp_path, 8)

    def reader() -> DatasetReader:
        return DatasetReader(tmp_path, columns=[c.OBS], batch_size=6, seed=3, pool_bytes=48)

    first, second = reader(), reader()
    taken = [first.next()[c.OBS] for _ in range(5)]
    for number in {int(row) // 10 for row in np.concatenate(taken[:4]).ravel()}:
        dataset.shards(tmp_path)[number].write_bytes(b"")
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        np.testing.assert_array_equal(second.next()[c.OBS], first.next()[c.OBS])
    with pytest.raises(DatasetError, match="cut short"):
        second.next()


def test_what_is_no_dataset_or_lacks_a_column_is_refused_by_name(tmp_path: Path) -> None:
    for wrong, why in (
        (tmp_path / "none", "no such dataset"),
        ("~no-such-user/data", "no such dataset"),
        ([], "no dataset is named"),
        (tmp_path, "no schema.json.*RLlib's JSON files are not read"),
        (__file__, "no schema.json"),
    ):
        with pytest.raises(DatasetError, match=why):
            DatasetReader(wrong, columns=[c.OBS], batch_size=1)
    write_one_row(tmp_path)
    with pytest.raises(DatasetError, match="no column 'vf_preds', it has obs"):
        DatasetReader(tmp_path, columns=["vf_preds"], batch_size=1)


def test_a_folder_whose_name_is_a_pattern_is_that_folder(tmp_path: Path) -> None:
    write_one_row(tmp_path / "lr=[1e-3]")
    assert DatasetReader(tmp_path / "lr=[1e-3]", columns=[c.OBS], batch_size=1).next().count == 1


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\xff\xfe", b'{"format": 1, "col', b'{"format": 1}', b"null", b"[" * 100_000,
     b'{"format": 1, "columns": null}', b'{"format": 2}'],
)  # fmt: skip
def test_a_damaged_schema_is_named(tmp_path: Path, damaged: bytes) -> None:
    write_one_row(tmp_path)
    (tmp_path / "schema.json").write_bytes(damaged)
    with pytest.raises(DatasetError, match=f"{tmp_path}.*(schema|format 2)"):
        DatasetReader(tmp_path, columns=[c.OBS], batch_size=1)


def test_a_damaged_shard_is_named_and_a_pickle_is_not_opened(tmp_path: Path) -> None:
    shard = write_one_row(tmp_path)
    whole = shard.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"\x80\x04N.", b""):
        shard.write_bytes(damaged)
        with pytest.raises(DatasetError, match=shard.name):
            DatasetReader(tmp_path, columns=[c.OBS], batch_size=1).next()
    np.savez(shard, obs=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DatasetError, match=shard.name):
        DatasetReader(tmp_path, columns=[c.OBS], batch_size=1).next()


def test_a_shard_of_other_columns_than_its_schemas_is_named(tmp_path: Path) -> None:
    shard = write_one_row(tmp_path)
    np.savez(shard, obs=np.zeros((5, 7), np.float32))
    reader = DatasetReader(tmp_path, columns=[c.OBS], batch_size=1)
    with pytest.raises(DatasetError, match=rf"{shard.name}: 'obs' is <f4 \[7\].*says <f4 \[1\]"):
        reader.next()


def test_shards_without_a_row_are_told_of_rather_than_read_for_ever(tmp_path: Path) -> None:
    np.savez(write_one_row(tmp_path), obs=np.zeros((0, 1), np.float32))
    with pytest.raises(DatasetError, match="no row"):
        DatasetReader(tmp_path, columns=[c.OBS], batch_size=1).next()


def test_datasets_of_several_environments_are_not_mixed(tmp_path: Path) -> None:
    write_one_row(tmp_path / "one")
    other = fragment([[1], [2]], [[0]], [0])
    other.columns[c.OBS] = np.zeros((2, 1, 7), np.float32)
    writer = DatasetWriter(tmp_path / "other", worker_index=0)
    writer.write(other)
    writer.flush()
    with pytest.raises(DatasetError, match=r"other: 'obs' is <f4 \[7\] there and <f4 \[1\] in"):
        DatasetReader(str(tmp_path / "*"), columns=[c.OBS], batch_size=1)


def test_another_run_with_other_columns_may_not_write_into_the_same_folder(tmp_path: Path) -> None:
    write_one_row(tmp_path)
    other = fragment([[1], [2]], [[0]], [0])
    other.columns[c.OBS] = np.zeros((2, 1, 7), np.float32)
    late = DatasetWriter(tmp_path, worker_index=1)
    late.write(other)
    with pytest.raises(DatasetError, match=r"other columns.*new_obs, obs"):
        late.flush()
    late = DatasetWriter(tmp_path, worker_index=1, action_space="Discrete(5)")
    late.write(fragment([[1], [2]], [[0]], [0]))
    with pytest.raises(DatasetError, match=r"other columns.*\(actions\)"):
        late.flush()


def test_where_nothing_can_be_written_is_told_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "data", "\0"):
        with pytest.raises(DatasetError, match=r"cannot be written: .*choose another folder"):
            DatasetWriter(folder, worker_index=0)
    writer = DatasetWriter(tmp_path / "data", worker_index=0)
    writer.write(fragment([[1], [2]], [[0]], [0]))
    (tmp_path / "data").rename(tmp_path / "gone")
    with pytest.raises(DatasetError, match="No such file"):
        writer.flush()


def test_a_full_disk_is_told_of_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatasetError, match="No space left on device; make room"):
        write_one_row(tmp_path)
    assert list(tmp_path.iterdir()) == []
