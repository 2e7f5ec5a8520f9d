from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, MultiBinary

from actorrl.envs.filters import MeanStdFilter, NoFilter, RunningStat, filter_for
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ConfigError


def rows(n, seed=0, scale=1e3):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 3)) * [1.0, scale, 1e-3] + [0.0, 1e4, -1.0]


def assert_statistics_of(stat, data):
    assert stat.count == len(data)
    np.testing.assert_allclose(stat.mean, data.mean(0), rtol=1e-12)
    np.testing.assert_allclose(stat.std, data.std(0, ddof=1), rtol=1e-9)


def test_rows_one_by_one_in_batches_and_merged_give_the_same():
    data = rows(1000)
    one_by_one, batches, merged = (RunningStat((3,)) for _ in range(3))
    for row in data:
        one_by_one.add(row[None])
    for piece in np.array_split(data, [1, 7, 7, 500]):
        batches.add(piece)
        other = RunningStat((3,))
        other.add(piece)
        merged.merge(other)
    for stat in (one_by_one, batches, merged):
        assert_statistics_of(stat, data)


def test_few_rows_have_deviation_one():
    stat = RunningStat((3,))
    assert (stat.std == 1).all()
    stat.add(rows(1))
    assert (stat.std == 1).all() and stat.count == 1


def test_workers_and_owner_together_have_the_statistics_of_all_rows():
    """Three workers, deltas taken at odd times and merged in any order; one worker is started
    again, and what it had not handed over is lost once, never counted twice."""
    owner = MeanStdFilter((3,))
    workers = [MeanStdFilter((3,)) for _ in range(3)]
    random, handed, pending = np.random.default_rng(0), [], []
    kept = [[] for _ in workers]
    for version in range(30):
        for i, worker in enumerate(workers):
            data = rows(random.integers(1, 20), seed=100 * version + i)
            worker.note(data)
            kept[i].append(data)
            if random.random() < 0.5:
                pending.append(worker.take_delta())
                handed += kept[i]
                kept[i] = []
        random.shuffle(pending)
        while pending:
            owner.merge(pending.pop())
        if version == 17:
            workers[1], kept[1] = MeanStdFilter((3,)), []
        for worker in workers:
            worker.load_state_dict(owner.state_dict(), version)
    assert_statistics_of(owner.stat, np.concatenate(handed))
    assert workers[0].version == 29
    np.testing.assert_array_equal(workers[0](rows(5)), owner(rows(5)))


def test_filtering_changes_nothing_and_noting_changes_no_result_before_it_is_merged():
    seen = MeanStdFilter((3,))
    obs = rows(50)
    before = seen(obs)
    seen(obs)
    seen.note(obs)
    np.testing.assert_array_equal(seen(obs), before)
    seen.merge(seen.take_delta())
    filtered = seen(obs)
    assert filtered.dtype == np.float32
    np.testing.assert_allclose(filtered.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(filtered.std(0, ddof=1), 1, atol=0.01)
    assert seen.take_delta()["count"] == 0


def test_wild_values_are_clipped_and_masks_are_kept():
    space = preprocessor_for(Dict(action_mask=MultiBinary(2), x=Box(-np.inf, np.inf, (1,)))).space
    seen = filter_for("MeanStdFilter", space)
    seen.note(np.array([[0, 1, 5.0], [1, 1, 7.0], [0, 0, 9.0]], np.float32))
    seen.merge(seen.take_delta())
    assert seen(np.array([[0, 1, 1e9]], np.float32)).tolist() == [[0, 1, 10.0]]


def test_statistics_travel_as_arrays_and_nonsense_is_refused():
    seen = MeanStdFilter((3,))
    seen.note(rows(10))
    seen.merge(seen.take_delta())
    state = seen.state_dict()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    again = RunningStat.from_state(state)
    assert_statistics_of(again, rows(10))
    for wrong in ({"m2": -np.ones(3)}, {"mean": np.zeros(2)}, {"mean": np.full(3, np.nan)}):
        with pytest.raises(ValueError, match="not the statistics"):
            RunningStat.from_state({**state, **wrong})


def test_filters_are_chosen_by_rllibs_names():
    assert isinstance(filter_for("NoFilter", Box(-1, 1, (3,))), NoFilter)
    obs = rows(3)
    assert NoFilter()(obs) is obs
    with pytest.raises(ConfigError, match="'MeanStd' is not accepted, expected 'NoFilter'"):
        filter_for("MeanStd", Box(-1, 1, (3,)))
    with pytest.raises(ConfigError, match=r"MeanStdFilter with .* Box\(0, 255"):
        filter_for("MeanStdFilter", Box(0, 255, (4, 4), np.uint8))


def test_an_image_of_bytes_among_numbers_is_refused_and_a_vector_of_bytes_is_not():
    numbers, screen = Box(-1, 1, (3,)), Box(0, 255, (8, 8, 3), np.uint8)
    mixed = preprocessor_for(Dict(inner=Dict(a=numbers, screen=screen), x=numbers)).space
    with pytest.raises(ConfigError, match=r"image 'inner.screen' of shape \(8, 8, 3\) .* NoFilter"):
        filter_for("MeanStdFilter", mixed)
    flat = preprocessor_for(Dict(ram=Box(0, 255, (4,), np.uint8), x=numbers)).space
    assert isinstance(filter_for("MeanStdFilter", flat), MeanStdFilter)
