"""Functions really run in the workers' processes, and weights written in the driver reach them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.taught_rows import taught_rows
from actorrl.algorithms.teaching import lanes_of
from actorrl.data.sample_batch import SampleBatch, concat_samples
from actorrl.errors import CallError, ConfigError

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


@pytest.fixture(scope="module")
def algo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    config = A2CConfig().environment(COUNTING).rollouts(num_workers=2, num_envs_per_worker=3)
    with config.build(results=tmp_path_factory.mktemp("results"), name="run") as algo:
        yield algo


def test_each_worker_runs_the_function_in_its_own_process(algo: Any) -> None:
    pids = algo.workers.foreach_worker(lambda worker: os.getpid())
    assert pids[0] == os.getpid() and len(set(pids)) == 3
    assert len(algo.workers.foreach_worker(lambda worker: 1, local_worker=False)) == 2


def test_where_cores_are_short_those_that_learn_go_before_those_that_sample(algo: Any) -> None:
    driver, *workers = algo.workers.foreach_worker(lambda worker: os.nice(0))
    pids = {row["name"]: row["pid"] for row in algo.status()}
    assert os.getpriority(os.PRIO_PROCESS, pids["learner/0"]) == driver
    assert workers == [min(19, driver + 5)] * 2


def test_they_are_asked_in_order_and_know_their_index(algo: Any) -> None:
    found = algo.workers.foreach_worker_with_index(
        lambda worker, index: (index, worker.worker_index, worker.num_envs)
    )
    assert found == [(0, 0, 0), (1, 1, 3), (2, 2, 3)]


def test_functions_of_policies_and_environments_run_in_each_process(algo: Any) -> None:
    assert algo.workers.foreach_policy(lambda policy, name: name) == ["default_policy"] * 3
    lengths = algo.workers.foreach_env(lambda env: env.max_length)
    assert lengths == [[], [7, 7, 7], [7, 7, 7]]


def test_samples_say_how_they_are_cut_so_that_an_lstms_states_mean_something(
    tmp_path: Path,
) -> None:
    config = A2CConfig().environment(COUNTING).rollouts(num_workers=0, num_envs_per_worker=3)
    config.training(model={"use_lstm": True, "lstm_cell_size": 8}, rollout_fragment_length=4)
    config.debugging(seed=1)  # or all episodes may end where the first fragment does
    with config.build(results=tmp_path, name="run") as algo:
        for _ in range(2):  # the second one begins within episodes
            ((found, (same,)),) = algo.workers.foreach_worker(
                lambda worker: (lambda x: (x, [x]))(worker.sample()), local_worker=False
            )
        batch = SampleBatch(found)
        assert batch.seq_lens is not None and batch.seq_lens.sum() == batch.count > 0
        states = batch["state_in_0"]
        assert len(states) == len(batch.seq_lens) and np.abs(states).max() > 0
        np.testing.assert_array_equal(states, SampleBatch(same)["state_in_0"])
        taught = taught_rows(algo.newest_policy(), found)
        columns = lanes_of(algo.newest_policy(), taught)
        np.testing.assert_array_equal(columns["state_in_0"], states)


def test_weights_written_in_the_driver_are_read_back_from_all(algo: Any) -> None:
    weights = {name: x + 0.25 for name, x in algo.get_policy().get_weights().items()}
    algo.get_policy().set_weights(weights)
    for got in algo.workers.foreach_worker(lambda w: w.get_policy().get_weights()):
        for name, x in weights.items():
            np.testing.assert_array_equal(got[name], x)
    before = algo.get_policy().version
    algo.train()
    assert algo.get_policy().version > before


def test_older_scripts_find_their_evaluators(algo: Any) -> None:
    local = algo.local_evaluator.policy_map["default"].get_weights()
    lists = algo.optimizer.foreach_evaluator(lambda ev: ev.for_policy(lambda p: p.get_weights()))
    assert len(lists) == 3 and set(lists[1]) == set(local)
    assert algo.foreach_worker(lambda w: w.worker_index) == [0, 1, 2]
    assert algo.foreach_worker_with_index(lambda w, i: w.worker_index == i) == [True] * 3
    assert algo.local_worker is algo.local_evaluator and algo.sync_weights() is None
    indexed = algo.optimizer.foreach_evaluator_with_index(lambda ev, i: i)
    assert indexed == [0, 1, 2]


def test_environments_and_samples_are_at_hand(algo: Any) -> None:
    numbers = algo.workers.foreach_worker(
        lambda worker: worker.foreach_env(lambda env: env.env_number), local_worker=False
    )
    assert numbers == [[0, 1, 2]] * 2
    rows = algo.workers.foreach_worker(lambda w: w.sample()["obs"], local_worker=False)
    assert all(part.shape[1] == 3 and len(part) for part in rows)


def test_what_is_no_plain_data_stays_in_the_worker_and_its_type_is_named(algo: Any) -> None:
    with pytest.raises(CallError, match="object"):
        algo.workers.foreach_worker(lambda worker: object(), local_worker=False)
    assert algo.workers.foreach_worker(lambda worker: 5) == [5, 5, 5], "they go on"


def test_an_error_says_in_which_worker_it_was_raised(algo: Any) -> None:
    with pytest.raises(CallError, match="rollout/0"):
        algo.workers.foreach_worker(lambda worker: 1 / worker.num_envs - worker.nothing, False)


def test_a_function_that_cannot_travel_is_refused_here(algo: Any) -> None:
    lock = threading.Lock()
    with pytest.raises(ConfigError, match="cannot be sent to the workers"):
        algo.workers.foreach_worker(lambda worker: lock.locked())


def test_only_the_driver_may_send_functions(algo: Any) -> None:
    """Asked of one worker by the other."""
    with pytest.raises(CallError, match="no remote method 'apply'"):
        algo.workers.foreach_worker(_ask_the_first, local_worker=False)


def _ask_the_first(worker: Any) -> Any:
    from actorrl.runtime.refs import ActorRef

    if worker.worker_index == 2:
        return ActorRef("rollout/0").apply.call(b"", 1).result()
    return None


def test_the_drivers_copy_samples_by_the_first_worker(algo: Any) -> None:
    samples = algo.workers.local_worker().sample()
    assert isinstance(samples, SampleBatch) and samples.seq_lens.sum() == samples.count > 0
    each = algo.workers.foreach_worker(lambda worker: worker.sample())
    assert concat_samples(each).count == sum(len(part["obs"]) for part in each)
    assert algo.get_policy().learn_on_batch(samples)["learner_stats"]
