"""The user's callbacks: called where RLlib calls them, in the worker's process or the driver's."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actorrl import DefaultCallbacks
from actorrl.algorithms import described, restoring
from actorrl.algorithms.a2c import A2C, A2CConfig
from actorrl.algorithms.a3c import A3CConfig
from actorrl.algorithms.es import ESConfig
from actorrl.algorithms.registry import config_class
from actorrl.envs.multi_agent import make_multi_agent
from actorrl.envs.native_vector import NativeVector
from actorrl.errors import ConfigError, EnvironmentFailure

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
LENGTHS = [3, -5]


class Watching(DefaultCallbacks):
    """Counts what it sees; its metrics say it."""

    def on_algorithm_init(self, *, algorithm: Any, **kwargs: Any) -> None:
        self.seen: list[str] = ["init"]

    def on_episode_created(self, *, episode: Any, base_env: Any, env_index: int, **kw: Any) -> None:
        assert episode.last_observation_for() is None
        env = base_env.get_sub_environments()[env_index]
        episode.user_data["number"] = env._episode + 1  # it is not reset yet

    def on_episode_start(self, *, episode: Any, **kwargs: Any) -> None:
        assert episode.length == 0 and episode.last_observation_for()[2] == 0
        assert episode.user_data["number"] == episode.last_observation_for()[1]
        episode.user_data["rewards"] = []

    def on_episode_step(self, *, episode: Any, base_env: Any, env_index: int, **kw: Any) -> None:
        episode.user_data["rewards"].append(episode.last_reward_for())
        env = base_env.get_sub_environments()[env_index]
        assert (env._episode, env._step) == tuple(episode.last_observation_for()[1:].astype(int))
        assert episode.last_info_for() == {}

    def on_episode_end(self, *, worker: Any, episode: Any, **kwargs: Any) -> None:
        assert sum(episode.user_data["rewards"]) == pytest.approx(episode.total_reward)
        episode.custom_metrics["steps"] = len(episode.user_data["rewards"])
        episode.custom_metrics["pid"] = os.getpid()

    def on_sample_end(self, *, samples: Any, **kwargs: Any) -> None:
        assert samples.count > 0 and samples["obs"].shape == (samples.count, 3)

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **kwargs: Any) -> None:
        result["custom_metrics"]["mine"] = 7
        self.seen.append("result")

    def on_evaluate_start(self, *, algorithm: Any, **kwargs: Any) -> None:
        self.seen.append("evaluate")

    def on_evaluate_end(self, *, evaluation_metrics: dict[str, Any], **kwargs: Any) -> None:
        self.seen.append(f"{evaluation_metrics['episodes']} episodes")

    def on_checkpoint_loaded(self, *, algorithm: Any, **kwargs: Any) -> None:
        self.seen.append("loaded")


def config_with(callbacks: Any, **settings: Any) -> A2CConfig:
    config = A2CConfig().environment(COUNTING, env_config={"lengths": LENGTHS})
    return config.callbacks(callbacks).rollouts(**{"num_workers": 1, **settings})


def test_episodes_are_watched_in_the_worker_and_results_in_the_driver(tmp_path: Path) -> None:
    config = config_with(Watching).evaluation(evaluation_interval=2, evaluation_duration=2)
    with config.build(results=tmp_path, name="run") as algo:
        first, second = algo.train(), algo.train()
        algo.restore(algo.save())
        seen = algo._callbacks.seen
    metrics = first["custom_metrics"]
    assert (metrics["steps_min"], metrics["steps_max"]) == (3, 5)
    assert metrics["steps_mean"] == pytest.approx(4, abs=0.5)
    assert metrics["pid_min"] == metrics["pid_max"] != os.getpid()
    assert seen == ["init", "result", "evaluate", "2 episodes", "result", "loaded"]
    rows = (tmp_path / "run" / "result.json").read_text().splitlines()
    assert json.loads(rows[1])["custom_metrics"]["mine"] == 7 == second["custom_metrics"]["mine"]


class Introduced(DefaultCallbacks):
    """Says in a metric with what its environments were made; hears of a worker that died."""

    def on_algorithm_init(self, *, algorithm: Any, **kwargs: Any) -> None:
        self.back: list[Any] = []

    def on_sub_environment_created(
        self, *, worker: Any, sub_environment: Any, env_context: Any, env_index: int, **kw: Any
    ) -> None:
        assert env_context["lengths"] == LENGTHS and env_context.vector_index == env_index
        assert sub_environment.env_number == env_index and worker.worker_index == 1
        sub_environment.introduced = True

    def on_episode_end(self, *, base_env: Any, episode: Any, **kwargs: Any) -> None:
        made = [env.introduced for env in base_env.get_sub_environments()]
        episode.custom_metrics["introduced"] = sum(made)

    def on_workers_recreated(self, *, worker_ids: list[int], **kwargs: Any) -> None:
        self.back.append((worker_ids, kwargs["is_evaluation"]))


def test_environments_are_introduced_and_workers_that_are_back_are_told_of(tmp_path: Path) -> None:
    config = config_with(Introduced, num_envs_per_worker=3)
    with config.build(results=tmp_path, name="run") as algo:
        assert algo.train()["custom_metrics"]["introduced_min"] == 3
        (pid,) = algo.workers.foreach_worker(lambda worker: os.getpid(), local_worker=False)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 100
        while not algo._callbacks.back and time.monotonic() < deadline:
            algo.train()
        assert algo._callbacks.back == [([1], False)]


class Failing(DefaultCallbacks):
    def on_episode_end(self, **kwargs: Any) -> None:
        raise KeyError("mine")


def test_what_a_callback_raises_ends_the_run_with_its_name_and_traceback(tmp_path: Path) -> None:
    config = config_with(Failing, num_workers=0)
    with config.build(results=tmp_path, name="run") as algo, pytest.raises(Exception) as caught:
        algo.train()
    assert "Failing.on_episode_end() raised KeyError: 'mine'" in str(caught.value)
    if isinstance(caught.value, EnvironmentFailure):
        assert "raise KeyError" in caught.value.user_traceback


def test_a_class_by_its_path_and_what_is_none() -> None:
    path = "actorrl.rollouts.callbacks:DefaultCallbacks"
    assert config_with(path).callbacks_class is DefaultCallbacks
    with pytest.raises(ConfigError, match="callbacks: 'nowhere:X' cannot be imported"):
        config_with("nowhere:X")
    with pytest.raises(ConfigError, match="expected a subclass of DefaultCallbacks"):
        config_with(dict)


def test_a_function_of_the_users_takes_the_place_of_evaluation(tmp_path: Path) -> None:
    def evaluate(algorithm: Any, workers: Any) -> dict[str, Any]:
        return {"counted": len(workers.foreach_worker(lambda worker: 1))}

    config = A2CConfig().environment(COUNTING).rollouts(num_workers=0)
    config.evaluation(evaluation_interval=1, custom_evaluation_function=evaluate)
    with config.build(results=tmp_path, name="run") as algo:
        assert algo.train()["evaluation"] == {"counted": 1}, "the driver, which evaluates"
        assert algo.evaluate(evaluation_fn=lambda algorithm, workers: {"mine": 1}) == {"mine": 1}
    plain = A2CConfig().environment(COUNTING, env_config={"lengths": LENGTHS})
    with plain.rollouts(num_workers=0).build(results=tmp_path, name="plain") as algo:
        assert algo.evaluate(duration_fn=lambda played: 3 - played)["episodes"] == 3


def count_steps(*, episode: Any, **kwargs: Any) -> None:
    episode.custom_metrics["steps"] = episode.length


def mark(*, env: Any, env_context: Any, **kwargs: Any) -> None:
    env.marked = env_context.vector_index


def see_mark(*, base_env: Any, env_index: int, episode: Any, **kwargs: Any) -> None:
    episode.custom_metrics["mark"] = base_env.get_sub_environments()[env_index].marked - env_index


def test_plain_functions_are_callbacks_too_and_newer_names_are_known(tmp_path: Path) -> None:
    config = config_with(None).callbacks(
        on_episode_end=count_steps, on_environment_created=mark, on_episode_start=see_mark
    )
    with config.build(results=tmp_path, name="run") as algo:
        metrics = algo.train()["custom_metrics"]
    assert (metrics["steps_min"], metrics["steps_max"], metrics["mark_max"]) == (3, 5, 0)
    with pytest.raises(ConfigError, match="did you mean 'on_episode_end'"):
        A2CConfig().callbacks(on_episode_ended=count_steps)


def test_a_checkpoint_names_the_class_of_its_callbacks(tmp_path: Path) -> None:
    with config_with(Watching, num_workers=0).build(results=tmp_path, name="run") as algo:
        path = algo.save()
    with A2C.from_checkpoint(path, results=tmp_path, name="again") as again:
        assert again.train()["custom_metrics"]["steps_max"] == 5


class Old(DefaultCallbacks):
    """As in RLlib's own example of custom metrics."""

    def on_episode_start(self, *, episode: Any, **kwargs: Any) -> None:
        episode.hist_data["ages"] = []

    def on_episode_step(self, *, episode: Any, **kwargs: Any) -> None:
        episode.hist_data["ages"].append(episode.length)

    def on_sample_begin(self, *, worker: Any, **kwargs: Any) -> None: ...

    def on_epsiode_end(self, *, episode: Any, **kwargs: Any) -> None: ...


def test_lists_of_an_episode_are_told_by_their_mean(tmp_path: Path) -> None:
    config = config_with(Old, num_workers=0).environment(env_config={"lengths": [3]})
    with config.build(results=tmp_path, name="run") as algo:
        assert algo.train()["custom_metrics"]["ages_mean"] == 2


def test_what_nobody_calls_is_said_when_a_run_starts() -> None:
    first, second = config_with(Old).notices
    assert first.startswith("callbacks: Old.on_epsiode_end is never called here, did you mean")
    assert second.startswith("callbacks: Old.on_sample_begin is never called here")


class Teaching(DefaultCallbacks):
    """All weights begin as 0, all rewards are 0: nothing of what the environment says is left."""

    def on_create_policy(self, *, policy_id: str, policy: Any) -> None:
        self.created = policy_id
        policy.set_weights({k: np.zeros_like(w) for k, w in policy.get_weights().items()})

    def on_learn_on_batch(
        self, *, policy: Any, train_batch: Any, result: dict[str, Any], **kwargs: Any
    ) -> None:
        result["rows"] = train_batch["valid"].sum()
        result["created"] = float(self.created == "default_policy")
        result["weight"] = float(np.abs(policy.flat_weights()).max())
        train_batch["rewards"] = train_batch["rewards"] * 0
        train_batch["terminateds"] |= True  # in place


def test_a_learners_policy_and_batches_are_shown_and_may_be_changed(tmp_path: Path) -> None:
    config = config_with(Teaching, num_workers=0)
    with config.build(results=tmp_path, name="run") as algo:
        learner = algo.train()["info"]["learner"]
    assert learner["rows"] >= config.train_batch_size
    assert (learner["created"], learner["weight"]) == (1.0, 0.0)
    assert learner["vf_loss"] == 0.0  # of values 0 and returns 0


class Naming(DefaultCallbacks):
    def on_create_policy(self, *, policy_id: str, policy: Any) -> None:
        policy.named = policy_id


def test_workers_policies_are_shown_too(tmp_path: Path) -> None:
    with config_with(Naming).build(results=tmp_path, name="run") as algo:
        names = algo.workers.foreach_worker(lambda w: w.get_policy().named, local_worker=False)
    assert names == ["default_policy"]


def test_a_learner_without_batches_is_said_to_show_none() -> None:
    config = A3CConfig().environment(COUNTING).callbacks(Teaching)
    (notice,) = config.notices
    assert notice.startswith("callbacks: Teaching.on_learn_on_batch is never called by A3C")


class Rewriting(DefaultCallbacks):
    """RLlib's own example counts the pieces of an episode so; this one changes rewards, too."""

    def on_postprocess_trajectory(
        self, *, episode: Any, agent_id: Any, policy_id: str, policies: Any,
        postprocessed_batch: Any, original_batches: Any, **kwargs: Any,
    ) -> None:  # fmt: skip
        rows = postprocessed_batch
        episode.custom_metrics.setdefault("rows", 0)
        episode.custom_metrics["rows"] += rows.count
        number = rows["obs"][:, 1]
        assert (number == number[0]).all(), "one episode's"
        assert rows["env_id"][0] == episode.env_id
        name, policy, before = original_batches[agent_id]
        assert policies[name] is policy and name == policy_id
        if number[0] % 2:  # in place, or another array
            rows["rewards"][:] = 777
        else:
            rows["rewards"] = rows["rewards"] * 0 + 777
        assert (before["rewards"] != 777).all()

    def on_learn_on_batch(self, *, train_batch: Any, result: Any, **kwargs: Any) -> None:
        rewards = train_batch["rewards"][train_batch["valid"]]
        result["reward_min"], result["reward_max"] = rewards.min(), rewards.max()


@pytest.mark.parametrize("mode", ["truncate_episodes", "complete_episodes"])
def test_rewards_that_the_user_leaves_are_learned_from_and_returns_stay(
    tmp_path: Path, mode: str
) -> None:
    config = config_with(Rewriting, num_workers=0, num_envs_per_worker=3, batch_mode=mode)
    config.training(clip_rewards=False)
    plain = config_with(None, num_workers=0, num_envs_per_worker=3, batch_mode=mode)
    with config.build(results=tmp_path, name="run") as algo:
        row = algo.train()
    with plain.build(results=tmp_path, name="plain") as algo:
        assert algo.train()["episode_reward_max"] == row["episode_reward_max"]
    learner, metrics = row["info"]["learner"], row["custom_metrics"]
    assert (learner["reward_min"], learner["reward_max"]) == (777, 777)
    assert (metrics["rows_min"], metrics["rows_max"]) == (3, 5)  # each row of each episode once


def add_advantages(*, postprocessed_batch: Any, **kwargs: Any) -> None:
    postprocessed_batch["advantages"] = postprocessed_batch["rewards"]


def change_observations(*, postprocessed_batch: Any, **kwargs: Any) -> None:
    postprocessed_batch["obs"][:] = 0


def lose_rewards(*, postprocessed_batch: Any, **kwargs: Any) -> None:
    postprocessed_batch["rewards"] = np.zeros(99)


def pay_too_much(*, postprocessed_batch: Any, **kwargs: Any) -> None:
    postprocessed_batch["rewards"] = np.full(postprocessed_batch.count, 1e300)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (pay_too_much, r"\(\) left rewards that are not finite as float32"),
        (add_advantages, r"\(\) put 'advantages' into the batch"),
        (change_observations, "raised ValueError: assignment destination is read-only"),
        (lose_rewards, r"left rewards of shape \(99,\)"),
    ],
)
def test_changes_that_would_be_lost_end_the_run(
    tmp_path: Path, function: Any, sentence: str
) -> None:
    config = config_with(None, num_workers=0).callbacks(on_postprocess_trajectory=function)
    with (
        config.build(results=tmp_path, name="run") as algo,
        pytest.raises(Exception, match=sentence),
    ):
        algo.train()


class OfEpisodes(Rewriting):
    def on_episode_step(self, **kwargs: Any) -> None:
        raise AssertionError("nobody sees steps here")


def test_where_training_has_no_episodes_to_show_a_notice_says_so(tmp_path: Path) -> None:
    config = ESConfig().environment("CartPole-v1").callbacks(OfEpisodes)
    (notice,) = described.notices(config, restoring.checked(config))[-1:]
    assert notice == (
        "callbacks: OfEpisodes.on_episode_step, on_postprocess_trajectory: never called in the"
        " training of ES, which collects no fragments"
    )
    config.rollouts(num_workers=0).training(episodes_per_batch=4, num_plain_episodes=1)
    with config.build(results=tmp_path, name="run") as algo:
        worker = algo.cluster._world.mailboxes["rollout/0"].actor
        assert isinstance(worker._sampling.env, NativeVector), "no slower than without callbacks"
        algo.train()


class PayingByPolicy(DefaultCallbacks):
    def on_postprocess_trajectory(
        self, *, policy_id: str, postprocessed_batch: Any, **kwargs: Any
    ) -> None:
        postprocessed_batch["rewards"][:] = 7 if policy_id == "a" else 8

    def on_learn_on_batch(self, *, train_batch: Any, result: Any, **kwargs: Any) -> None:
        rewards = train_batch["rewards"]
        rewards = rewards[train_batch["valid"]] if "valid" in train_batch else rewards
        result["reward_min"], result["reward_max"] = rewards.min(), rewards.max()


@pytest.mark.parametrize("algo", ["A2C", "DQN"])
def test_each_policy_learns_from_the_rewards_that_the_user_leaves_its_agents(
    algo: str, tmp_path: Path
) -> None:
    env = make_multi_agent("CartPole-v1")
    config = config_class(algo)().environment(env, env_config={"num_agents": 2})
    config.multi_agent(policies=["a", "b"], policy_mapping_fn=lambda agent: "ab"[agent])
    config.rollouts(num_workers=0, num_envs_per_worker=2, rollout_fragment_length=10)
    config.training(train_batch_size=40).callbacks(PayingByPolicy)
    if algo == "DQN":
        config.training(n_step=1, learning_starts=40).reporting(min_time_s_per_iteration=0)
    with config.build(results=tmp_path, name="run") as algorithm:
        learner = algorithm.train()["info"]["learner"]
    found = {name: (learner[f"{name}/reward_min"], learner[f"{name}/reward_max"]) for name in "ab"}
    assert found == {"a": (7, 7), "b": (8, 8)}
