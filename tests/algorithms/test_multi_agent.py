"""Several policies in one run: each learns from its own agents, with its own spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actorrl import DefaultCallbacks, ModelCatalog, Policy, PolicySpec
from actorrl.algorithms.es import ESConfig
from actorrl.algorithms.impala import IMPALAConfig
from actorrl.algorithms.multi_agent import config_for, learning
from actorrl.algorithms.ppo import PPO, PPOConfig
from actorrl.algorithms.registry import algorithm_class, config_class
from actorrl.algorithms.restoring import checked, newest_learner_state, plain_config
from actorrl.envs.multi_agent import ALL, MultiAgentEnv, make_multi_agent
from actorrl.errors import CheckpointError, ConfigError, EnvironmentFailure
from actorrl.experiment.checkpoints import read_manifest
from actorrl.models.torch_networks import FullyConnectedNetwork
from actorrl.policies.sac import SACPolicy
from actorrl.rollouts.policy_mapping import EpisodeInfo, with_accepted_arguments
from actorrl.testing.probe_envs import CountingEnv

CARTPOLES = make_multi_agent("CartPole-v1")


class Unlike(MultiAgentEnv):
    """Agents of different spaces: one is paid for action 1, the other for a small number. It tells
    no infos."""

    observation_space = {"counter": gym.spaces.Discrete(4), "artist": gym.spaces.Box(-1, 1, (3,))}
    action_space = {"counter": gym.spaces.Discrete(2), "artist": gym.spaces.Box(-1, 1, (2,))}

    def __init__(self, config: Any = None) -> None:
        self.t = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return self._obs(), {}

    def _obs(self) -> dict[str, Any]:
        return {"counter": self.t % 4, "artist": np.full(3, 0.1, np.float32)}

    def step(self, action_dict: Any) -> Any:
        self.t += 1
        rewards = {
            "counter": float(action_dict["counter"] == 1),
            "artist": -float(np.square(action_dict["artist"]).sum()),
        }
        return self._obs(), rewards, {ALL: False}, {ALL: self.t == 8}, None


def by_name(agent_id: Any, **kwargs: Any) -> str:
    return str(agent_id)


def unlike(**settings: Any) -> PPOConfig:
    config = PPOConfig().environment(Unlike).rollouts(num_rollout_workers=0, num_envs_per_worker=4)
    config = config.training(train_batch_size=256, lr=3e-3).debugging(seed=1)
    return config.multi_agent(
        policies={"counter": None, "artist": (None, None, None, {})},
        policy_mapping_fn=by_name,
        **settings,
    )


def test_policies_of_different_spaces_learn_beside_each_other(tmp_path: Path) -> None:
    with unlike().build(name="run", results=tmp_path) as algo:
        rows = [algo.train() for _ in range(12)]
        first, last = rows[0]["policy_reward_mean"], rows[-1]["policy_reward_mean"]
        assert last["counter"] > max(first["counter"], 6.0)
        assert last["artist"] > first["artist"]
        assert rows[-1]["episode_reward_mean"] == pytest.approx(sum(last.values()))
        assert algo.compute_single_action(2, policy_id="counter") == 1
        small = algo.compute_single_action(np.full(3, 0.1), policy_id="artist")
        assert small.shape == (2,)
        learner = rows[-1]["info"]["learner"]
        assert {"counter/total_loss", "artist/total_loss"} <= set(learner)
        evaluation = algo.evaluate(episodes=3)
        assert evaluation["episodes"] == 3 and evaluation["episode_len_mean"] == 8


def test_only_policies_to_train_learn(tmp_path: Path) -> None:
    config = unlike(policies_to_train=["counter"])
    with config.build(name="run", results=tmp_path) as algo:
        before = {name: algo.get_policy(name).get_weights() for name in ("counter", "artist")}
        algo.train()
        after = {name: algo.get_policy(name).get_weights() for name in ("counter", "artist")}
    same = {
        name: all(np.array_equal(before[name][key], after[name][key]) for key in before[name])
        for name in before
    }
    assert same == {"counter": False, "artist": True}


def test_weights_written_to_one_policy_reach_the_learner_and_leave_the_other(
    tmp_path: Path,
) -> None:
    with unlike().build(name="run", results=tmp_path) as algo:
        other = algo.get_policy("artist").get_weights()
        zeros = {k: np.zeros_like(v) for k, v in algo.get_policy("counter").get_weights().items()}
        algo.get_policy("counter").set_weights(zeros)
        assert all((v == 0).all() for v in algo.get_policy("counter").get_weights().values())
        now = algo.get_policy("artist").get_weights()
        assert all(np.array_equal(other[key], now[key]) for key in other)
        with pytest.raises(KeyError, match="'counter', 'artist'"):
            algo.get_policy("writer")


def test_a_checkpoint_brings_all_policies_back(tmp_path: Path) -> None:
    with unlike().build(name="run", results=tmp_path) as algo:
        algo.train()
        path, weights = algo.save(), algo.get_policy("artist").get_weights()
    with PPO.from_checkpoint(path, name="again", results=tmp_path) as again:
        restored = again.get_policy("artist").get_weights()
        assert all(np.array_equal(weights[key], restored[key]) for key in weights)
        assert again.train()["training_iteration"] == 2


def test_a_checkpoint_asks_for_a_mapping_that_has_no_import_path(tmp_path: Path) -> None:
    config = unlike()
    config.policy_mapping_fn = lambda agent, **kwargs: str(agent)
    with config.build(name="run", results=tmp_path) as algo:
        path = algo.save()
    with pytest.raises(CheckpointError, match="policy_mapping_fn="):
        PPO.from_checkpoint(path, name="again", results=tmp_path)
    options = {"policy_mapping_fn": by_name, "name": "third", "results": tmp_path}
    PPO.from_checkpoint(path, **options).stop()


def test_a_policys_own_settings_go_before_the_runs(tmp_path: Path) -> None:
    config = PPOConfig().environment(CARTPOLES, env_config={"num_agents": 2})
    config = config.rollouts(num_rollout_workers=0, num_envs_per_worker=2)
    config = config.training(train_batch_size=64, lr=1e-3).multi_agent(
        policies={"0": None, "1": (None, None, None, {"lr": 5e-4})},
        policy_mapping_fn=by_name,
    )
    with config.build(name="run", results=tmp_path) as algo:
        learner = algo.train()["info"]["learner"]
    assert (learner["0/cur_lr"], learner["1/cur_lr"]) == (1e-3, 5e-4)


@pytest.mark.parametrize("policies", [None, ["0", "1"]])
def test_lives_of_several_agents_are_not_recorded(policies: Any, tmp_path: Path) -> None:
    config = PPOConfig().environment(CARTPOLES, env_config={"num_agents": 2})
    config.rollouts(num_rollout_workers=0).update_from_dict({"output": str(tmp_path / "data")})
    if policies:
        config.multi_agent(policies=policies, policy_mapping_fn=by_name)
    with pytest.raises(ConfigError, match=r"^output: only where there is one agent"):
        config.build(name="run", results=tmp_path)
    assert not list(tmp_path.iterdir())


class Wide(FullyConnectedNetwork):
    """A user's model."""


def test_a_policys_own_model_may_be_named_or_given_and_travels_with_checkpoints(
    tmp_path: Path,
) -> None:
    """RLlib's own example with several agents has a registered model for each policy."""
    ModelCatalog.register_custom_model("wide", Wide)
    config = PPOConfig().environment(CARTPOLES, env_config={"num_agents": 3})
    config.rollouts(num_rollout_workers=0, num_envs_per_worker=1, rollout_fragment_length=32)
    specs = {
        "0": (None, None, None, {"model": {"custom_model": "wide"}, "gamma": np.float64(0.9)}),
        "1": (None, None, None, {"model": {"custom_model": Wide}}),
        "2": PolicySpec(algorithm_class("DQN"), config={"model": {"custom_model": "wide"}}),
    }
    config.multi_agent(policies=specs, policy_mapping_fn=by_name)
    with config.training(train_batch_size=64, num_sgd_iter=1).build(
        name="run", results=tmp_path
    ) as algo:
        algo.train()
        weights, path = algo.get_weights(), algo.save()
    assert all(any("model." in key for key in named) for named in weights.values()), "the user's"
    with PPO.from_checkpoint(path, CARTPOLES, name="again", results=tmp_path) as again:
        for name, named in again.get_weights().items():
            assert all(np.array_equal(x, weights[name][key]) for key, x in named.items())
    specs["0"] = (None, None, None, {"model": {"custom_model": "wyde"}})
    with pytest.raises(ConfigError, match=r"policies\.0\.model\.custom_model: 'wyde' .* 'wide'\?"):
        config.copy().multi_agent(policies=specs).build(name="no", results=tmp_path)


def test_a_hundred_policies_in_one_environment(tmp_path: Path) -> None:
    names = [f"p{i}" for i in range(100)]
    config = IMPALAConfig().environment(CARTPOLES, env_config={"num_agents": 100})
    config = config.rollouts(num_rollout_workers=0, num_envs_per_worker=1)
    config = config.training(train_batch_size=64, rollout_fragment_length=32)
    config = config.reporting(min_time_s_per_iteration=0)
    config.model.fcnet_hiddens = [4]
    config = config.multi_agent(policies=names, policy_mapping_fn=lambda agent: f"p{agent}")
    with config.build(name="run", results=tmp_path) as algo:
        row = algo.train()
    assert row["num_updates"] >= 1
    assert sum(key.endswith("/total_loss") for key in row["info"]["learner"]) == 100


class Choosers(MultiAgentEnv):
    """Two agents that act by turns, paid for the first action, or for a large number. Guests come
    for a turn and never again."""

    def __init__(self, config: Any = None) -> None:
        continuous = bool((config or {}).get("continuous"))
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Box(-2, 2, (1,)) if continuous else gym.spaces.Discrete(3)
        self.t, self.guests = 0, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return self._obs(), {}

    def _obs(self) -> dict[str, Any]:
        self.present = "xy"[self.t % 2]
        if self.t % 5 == 4:
            self.guests += 1
            self.present = f"guest {self.guests}"
        return {self.present: np.array([self.t % 2, 0.5], np.float32)}

    def step(self, action_dict: Any) -> Any:
        ((agent, action),) = action_dict.items()
        self.t += 1
        paid = float(action == 0) if np.ndim(action) == 0 else float(action[0]) / 2
        leaves = {agent: True} if agent.startswith("guest") else {}
        obs = {} if self.t == 12 else self._obs()
        return obs, {agent: paid}, leaves, {ALL: self.t == 12}, {}


def x_or_other(agent: str, **kwargs: Any) -> str:
    return agent if agent == "x" else "other"


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "algo", ["PG", "DQN", "TD3", pytest.param("SAC", marks=SLOW), pytest.param("DDPG", marks=SLOW)]
)
def test_algorithms_of_single_rows_learn_several_policies(algo: str, tmp_path: Path) -> None:
    config = config_class(algo)().environment(
        Choosers, env_config={"continuous": algo in ("TD3", "DDPG")}
    )
    config.rollouts(num_rollout_workers=0, num_envs_per_worker=4).debugging(seed=1)
    config.training(model={"fcnet_hiddens": [32]}, gamma=0.5, lr=1e-3 if algo == "DQN" else 4e-3)
    if algo == "PG":
        config.training(train_batch_size=400)
    else:
        config.training(learning_starts=200, samples_per_insert=8.0, train_batch_size=32)
    if hasattr(config, "random_steps"):
        config.training(random_steps=200)
    if algo == "DQN":
        config.training(epsilon_timesteps=500, n_step=3)
    config.multi_agent(policies=["x", "other"], policy_mapping_fn=x_or_other)
    with config.build(name="run", results=tmp_path) as algorithm:
        first, *_, last = [algorithm.train() for _ in range(12 if algo == "PG" else 2)]
        learner = last["info"]["learner"]
        assert {"x/cur_lr", "other/cur_lr"} <= set(learner) or "x/critic_loss" in learner
        path = algorithm.save()
        reached = algorithm.evaluate(episodes=4)["episode_reward_mean"]
        weights = algorithm.get_policy("other").get_weights()
    assert reached > 9.0, (first["episode_reward_mean"], last["episode_reward_mean"])
    with algorithm_class(algo).from_checkpoint(
        path, env=Choosers, policy_mapping_fn=x_or_other, name="again", results=tmp_path
    ) as again:
        same = again.get_policy("other").get_weights()
        assert all(np.array_equal(weights[key], same[key]) for key in weights)


def test_a_policy_that_does_not_learn_fills_no_buffer(tmp_path: Path) -> None:
    config = config_class("DQN")().environment(Choosers).rollouts(num_rollout_workers=0)
    config.training(learning_starts=100, model={"fcnet_hiddens": [8]}).debugging(seed=1)
    config.multi_agent(
        policies=["x", "other"], policy_mapping_fn=x_or_other, policies_to_train=["x"]
    )
    with config.build(name="run", results=tmp_path) as algo:
        before = algo.get_policy("other").get_weights()
        row = algo.train()
        after = algo.get_policy("other").get_weights()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    rows_of_x = row["info"]["learner"]["replay_size"]
    assert 0.3 * row["timesteps_total"] < rows_of_x < 0.5 * row["timesteps_total"]


def config_error(config_of: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config_of().build()
    return str(caught.value)


def test_each_mistake_is_a_sentence_before_anything_starts() -> None:
    plain = PPOConfig().environment(Unlike)
    two = {"a": None, "b": None}
    said = config_error(lambda: plain.copy().multi_agent(policies=two))
    assert "policy_mapping_fn: missing" in said
    said = config_error(lambda: unlike(policies_to_train=["painter"]))
    assert "no policy 'painter', expected of counter, artist" in said
    wrong = {"policies": two, "policy_mapping_fn": lambda agent: "c"}
    said = config_error(lambda: plain.copy().multi_agent(**wrong))
    assert "returned 'c' for agent 'counter', expected one of a, b" in said
    unused = {"policies": ["counter", "artist", "ghost"], "policy_mapping_fn": by_name}
    said = config_error(lambda: plain.copy().multi_agent(**unused))
    assert "policies.ghost: its spaces are neither given nor found" in said
    said = config_error(lambda: plain.copy().multi_agent(policies={"a": 3}))
    assert "policies.a: 3 is not accepted" in said
    said = config_error(lambda: plain.copy().multi_agent(policies={"a": PolicySpec(config=5)}))
    assert "policies.a: its config 5 is not accepted, expected a dict of settings" in said
    said = config_error(lambda: ESConfig().environment(Unlike).multi_agent(policies=["a"]))
    able = "A2C, A3C, APPO, DDPG, DQN, IMPALA, PG, PPO, SAC, TD3"
    assert f"policies: ES learns one policy of one agent; {able} learn several" in said
    one = PPOConfig().environment("CartPole-v1").multi_agent(policies=["a"])
    assert "'CartPole-v1' has one agent" in config_error(lambda: one)


def first_only(agent_id: Any, **kwargs: Any) -> str:
    return "p0"


def by_number(agent_id: Any, **kwargs: Any) -> str:
    return f"p{agent_id}"


def weights_of(algo: Any, *names: str) -> dict[str, Any]:
    return {name: algo.get_policy(name).get_weights() for name in names}


def equal(one: Any, other: Any) -> bool:
    return all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("algo", ["PPO", pytest.param("DQN", marks=SLOW)])
def test_policies_are_added_and_removed_while_a_run_goes_on(algo: str, tmp_path: Path) -> None:
    config = config_class(algo)().environment(CARTPOLES, env_config={"num_agents": 2})
    # 100 steps of each agent: every policy's episodes end in every iteration
    config.rollouts(num_rollout_workers=0, num_envs_per_worker=2).debugging(seed=3)
    config.training(train_batch_size=400, model={"fcnet_hiddens": [8]})
    if algo == "DQN":
        config.training(learning_starts=100, samples_per_insert=1.0)
    config.multi_agent(policies=["p0"], policy_mapping_fn=first_only)
    with config.build(name="run", results=tmp_path) as run:
        first = run.train()
        before = run.get_policy("p0").get_weights()
        added = run.add_policy("p1", policy_mapping_fn=by_number)
        assert equal(before, run.get_policy("p0").get_weights()), "what was learned stays"
        born = added.get_weights()
        assert not equal(before, born), "a new one begins with its own"
        kept = newest_learner_state(run.run_folder).state
        assert kept is not None and len(kept["weights"]) == len(run.newest_policy().flat_weights())
        row = run.train()
        assert row["training_iteration"] == 2
        assert row["timesteps_total"] > first["timesteps_total"]
        assert row["num_updates"] > first["num_updates"]
        now = weights_of(run, "p0", "p1")
        assert not equal(before, now["p0"]) and not equal(born, now["p1"]), "both learn"
        copied = run.add_policy("p2", type(added), policy=run.get_policy("p1"))
        assert equal(now["p1"], copied.get_weights())
        run.remove_policy(
            "p0",
            policy_mapping_fn=lambda agent, **kwargs: f"p{agent + 1}",
            policies_to_train=lambda name, batch: name != "p1",
        )
        assert equal(now["p1"], run.get_policy("p1").get_weights())
        with pytest.raises(KeyError, match="'p1', 'p2'"):
            run.get_policy("p0")
        assert set(run.train()["policy_reward_mean"]) >= {"p1", "p2"}
        assert equal(now["p1"], run.get_policy("p1").get_weights()), "it learns no more"
        path, last = run.save(), weights_of(run, "p1", "p2")
    options = {"env": CARTPOLES, "policy_mapping_fn": lambda agent, **kwargs: f"p{agent + 1}"}
    again = algorithm_class(algo).from_checkpoint(path, name="b", results=tmp_path, **options)
    with again:
        restored = weights_of(again, "p1", "p2")
        assert all(equal(last[name], restored[name]) for name in last)
        assert again.train()["training_iteration"] == 4


@pytest.mark.slow
def test_processes_started_anew_know_the_new_policy(tmp_path: Path) -> None:
    config = PPOConfig().environment(CARTPOLES, env_config={"num_agents": 2})
    config.rollouts(num_rollout_workers=1, num_envs_per_worker=2)
    config.training(train_batch_size=64, model={"fcnet_hiddens": [8]})
    config.multi_agent(policies=["p0"], policy_mapping_fn=first_only)
    with config.build(name="run", results=tmp_path) as run:
        run.train()
        run.add_policy("p1", policy_mapping_fn=by_number)
        row = run.train()
        assert set(row["policy_reward_mean"]) >= {"p0", "p1"}
        known = run.workers.foreach_worker(lambda worker: sorted(worker.get_weights()))
    assert known == [["p0", "p1"]] * 2
    assert '"policies_changed"' in (tmp_path / "run" / "events.jsonl").read_text()


def test_a_change_of_policies_that_cannot_be_changes_nothing(tmp_path: Path) -> None:
    spaces = {"observation_space": gym.spaces.Discrete(4), "action_space": gym.spaces.Discrete(2)}
    with unlike().build(name="run", results=tmp_path) as run:
        for wrong, said in (
            (lambda: run.add_policy("artist"), "there is a policy 'artist' already"),
            (lambda: run.add_policy("third", int), "expected None .the algorithm"),
            (lambda: run.add_policy("third", SACPolicy), "third: SACPolicy is not accepted.* None"),
            (lambda: run.add_policy("third"), "policies.third: its spaces are neither given"),
            (lambda: run.add_policy("third", config={"lrr": 1}, **spaces), "policies.third.lrr"),
            (lambda: run.remove_policy("third"), "no policy 'third': this run has 'counter'"),
            (lambda: run.remove_policy("artist"), "returned 'artist' for agent 'artist'"),
        ):
            with pytest.raises(ConfigError, match=said):
                wrong()
        assert set(run.train()["policy_reward_mean"]) == {"counter", "artist"}
    with (
        PPOConfig()
        .environment("CartPole-v1")
        .rollouts(num_workers=0)
        .build(name="one", results=tmp_path) as run,
        pytest.raises(ConfigError, match="'CartPole-v1' has one agent"),
    ):
        run.add_policy("second")


@pytest.mark.parametrize(
    "mapping",
    [
        lambda agent: "p0",
        lambda agent, ep: f"p{ep.episode_id % 2}",
        lambda agent, ep, worker, **more: f"p{ep.episode_id % 2}",
        lambda agent, *more: f"p{more[0].episode_id % 2}",
        lambda agent, **more: f"p{more['episode'].episode_id % 2}",
        lambda agent, *, episode: f"p{episode.episode_id % 2}",
    ],
)
def test_a_mapping_is_called_in_each_of_rllibs_ways(mapping: Any) -> None:
    assert with_accepted_arguments(mapping)("agent", EpisodeInfo(2, 0)) == "p0"


def test_a_function_says_which_policies_learn(tmp_path: Path) -> None:
    config = unlike(policies_to_train=lambda name, batch=None: name == "counter")
    with config.build(name="run", results=tmp_path) as algo:
        before = weights_of(algo, "counter", "artist")
        algo.train()
        after = weights_of(algo, "counter", "artist")
        path = algo.save()
    assert equal(before["artist"], after["artist"])
    assert not equal(before["counter"], after["counter"])
    said = read_manifest(path).about["config"]
    assert said["policies_to_train"] == ["counter"]


def test_a_mapping_may_change_from_episode_to_episode_and_never_within_one(tmp_path: Path) -> None:
    def in_turns(agent: Any, episode: Any, **kwargs: Any) -> str:
        return f"p{(agent + episode.episode_id) % 2}"

    config = PPOConfig().environment(CARTPOLES, env_config={"num_agents": 2})
    config.rollouts(num_rollout_workers=0, num_envs_per_worker=1)
    config.training(train_batch_size=128, model={"fcnet_hiddens": [8]})
    config.multi_agent(policies=["p0", "p1"], policy_mapping_fn=in_turns)
    with config.build(name="run", results=tmp_path) as run:
        row = run.train()
        while row["episodes_total"] < 2:
            row = run.train()
        mean = row["policy_reward_mean"]
    assert mean["p0"] + mean["p1"] == pytest.approx(row["episode_reward_mean"])


class Strict(MultiAgentEnv):
    """Allows an agent one action at a time, and raises at all others. A first observation may be
    out of bounds."""

    action_space = gym.spaces.Discrete(9)
    observation_space = gym.spaces.Dict(
        action_mask=gym.spaces.MultiBinary(9), observations=gym.spaces.Box(-1, 1, (1,))
    )

    def __init__(self, config: Any) -> None:
        self.shown = np.full(1, config.get("shown", 0.0), np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return self._obs(), {}

    def _obs(self) -> Any:
        mask = (np.arange(9) == self.t % 9).astype(np.int8)
        return {agent: {"action_mask": mask, "observations": self.shown} for agent in ("x", "y")}

    def step(self, action_dict: Any) -> Any:
        assert set(action_dict.values()) == {self.t % 9}, "forbidden"
        self.t += 1
        return self._obs(), {}, {ALL: self.t == 20}, {}, {}


def tried(mapping: Any, *policies: str, **env_config: Any) -> Any:
    config = PPOConfig().environment(Strict, env_config=env_config)
    return checked(config.multi_agent(policies=policies, policy_mapping_fn=mapping))


def test_the_check_takes_actions_that_masks_allow_and_holds_observations_to_their_bounds() -> None:
    assert tried(by_name, "x", "y").policies["x"].action_space == Strict.action_space
    with pytest.raises(EnvironmentFailure, match=r"agent 'x': reset\(\) .* is 5\.0, allowed are"):
        tried(by_name, "x", "y", shown=5.0)


def test_policies_that_nobody_is_mapped_to_yet_have_the_spaces_of_all_others() -> None:
    info = tried(lambda agent, episode, **more: f"p{episode.episode_id % 3}", "p0", "p1", "p2")
    assert {str(own.action_space) for own in info.policies.values()} == {"Discrete(9)"}


class Watching(DefaultCallbacks):
    """Asserts what it is told; its metrics say that it was called."""

    def on_episode_created(self, *, episode: Any, env_index: int, base_env: Any, **kw: Any) -> None:
        before = base_env.get_sub_environments()[env_index].t
        assert before == (8 if episode.episode_id > 4 else 0), "not reset yet"
        episode.user_data["created"] = True

    def on_episode_start(self, *, episode: Any, policies: Any, **kwargs: Any) -> None:
        assert episode.user_data == {"created": True}
        assert episode.length == 0 and episode.last_observation_for("counter") == 0
        assert episode.last_action_for("counter") is None and set(policies) == {"counter", "artist"}
        episode.user_data["paid"] = 0.0

    def on_episode_step(self, *, episode: Any, env_index: int, base_env: Any, **kw: Any) -> None:
        assert base_env.get_sub_environments()[env_index].t == episode.length
        paid = episode.last_action_for("counter") == 1
        assert episode.last_reward_for("counter") == float(paid)
        episode.user_data["paid"] += paid

    def on_episode_end(self, *, episode: Any, **kwargs: Any) -> None:
        assert episode.agent_rewards["counter"] == episode.user_data["paid"]
        assert sorted(episode.get_agents()) == ["artist", "counter"]
        assert episode.policy_for("artist") == "artist"
        episode.custom_metrics["steps"] = episode.length

    def on_sample_end(self, *, samples: Any, **kwargs: Any) -> None:
        assert set(samples.policy_batches) == {"counter", "artist"} and samples.count > 0


def test_callbacks_see_the_episodes_of_all_agents(tmp_path: Path) -> None:
    config = unlike().callbacks(Watching)
    with config.build(results=tmp_path, name="run") as algo:
        metrics = algo.train()["custom_metrics"]
    assert (metrics["steps_min"], metrics["steps_max"], metrics["steps_mean"]) == (8, 8, 8)


def test_evaluators_play_with_all_policies(tmp_path: Path) -> None:
    config = unlike().rollouts(num_workers=1)
    config.evaluation(evaluation_interval=1, evaluation_duration=5, evaluation_num_workers=2)
    with config.build(results=tmp_path, name="run") as algo:
        weights = algo.get_weights()
        evaluation = algo.train()["evaluation"]
        assert [row["role"] for row in algo.status()].count("evaluator") == 2
        algo.set_weights(weights)
        algo._evaluations._evaluators = []  # from now on the driver plays
        assert evaluation["episodes"] == 5 and evaluation["episode_len_mean"] == 8
        # two evaluators ask for other numbers of rows at once, and so may round otherwise
        theirs = pytest.approx(evaluation["episode_reward_mean"])
        assert algo.evaluate()["episode_reward_mean"] == theirs


class Rock(Policy):
    """A heuristic of one's own, in RLlib's way, without weights."""

    def compute_actions(self, obs_batch: Any, *args: Any, **kwargs: Any) -> Any:
        return np.full(len(obs_batch), self.config.get("choice", 0)), [], {}


class RockPaperScissors(MultiAgentEnv):
    """Eight rounds; who sees nothing of the other is paid for beating it."""

    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, config: Any = None) -> None:
        self.t = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return {"one": 0, "other": 0}, {}

    def step(self, action_dict: Any) -> Any:
        self.t += 1
        won = (action_dict["one"] - action_dict["other"] + 1) % 3 - 1
        rewards = {"one": float(won), "other": -float(won)}
        return {"one": 0, "other": 0}, rewards, {ALL: self.t == 8}, {ALL: False}, {}


@pytest.mark.parametrize("algo", ["PPO", pytest.param("DQN", marks=SLOW)])
def test_a_heuristic_plays_beside_a_policy_that_learns_to_beat_it(
    algo: str, tmp_path: Path
) -> None:
    config = config_class(algo)().environment(RockPaperScissors).debugging(seed=1)
    config.rollouts(num_rollout_workers=0, num_envs_per_worker=4)
    config.training(train_batch_size=256, lr=5e-3, model={"fcnet_hiddens": [16]})
    if algo == "DQN":
        config.training(train_batch_size=32, samples_per_insert=4.0, epsilon_timesteps=500)
    policies = {"one": None, "other": PolicySpec(Rock, None, None, {"choice": 1})}
    config.multi_agent(policies=policies, policy_mapping_fn=by_name)
    with config.build(name="run", results=tmp_path) as run:
        for _ in range(5 if algo == "PPO" else 2):
            row = run.train()
        assert run.get_policy("other").get_weights() == {}
        assert run.compute_single_action(0, policy_id="one") == 2
        assert run.evaluate(episodes=2)["episode_len_mean"] == 8
        assert not any(key.startswith("other/") for key in row["info"]["learner"])
        path = run.save()
    again = algorithm_class(algo).from_checkpoint(
        path, env=RockPaperScissors, policy_mapping_fn=by_name, name="again", results=tmp_path
    )
    with again:
        assert again.compute_single_action(0, policy_id="other") == 1
        again.add_policy("third", Rock)
        assert again.compute_single_action(0, policy_id="third") == 0
        path = again.save()
    with algorithm_class(algo).from_checkpoint(
        path, env=RockPaperScissors, policy_mapping_fn=by_name, name="last", results=tmp_path
    ) as last:  # no agent shows the spaces of the third
        assert last.compute_single_action(0, policy_id="third") == 0


def test_policies_of_which_none_learns_are_refused() -> None:
    config = PPOConfig().environment(RockPaperScissors)
    all_play = {"one": (Rock, None, None, {}), "other": (Rock, None, None, {})}
    said = config_error(lambda: config.multi_agent(policies=all_play, policy_mapping_fn=by_name))
    assert "each has a class of its own and none learns" in said
    said = config_error(lambda: config.copy().multi_agent(policies={"a": (int, None, None, {})}))
    assert "policies.a: <class 'int'> is not accepted, expected None" in said


def with_own(config: PPOConfig, **own: Any) -> list[str]:
    """What is wrong where one policy has these settings of its own."""
    policies = {"one": None, "other": (None, None, None, own)}
    return config.copy().multi_agent(policies=policies, policy_mapping_fn=by_name).validate()


def test_a_policy_has_of_its_own_what_a_policy_can_have_and_that_is_checked() -> None:
    config = PPOConfig().environment(RockPaperScissors)
    assert with_own(config, lr=0.1, gamma=0.5, num_sgd_iter=2, explore=False) == []
    assert with_own(config, num_workers=None, train_batch_size=1024) == [], "as it is anyway"
    assert with_own(config, sample_batch_size=7, num_workers=3) == [
        "policies.other.num_workers: is one for all policies of a run, expected it among the run's"
        " settings",
        "policies.other.rollout_fragment_length: is one for all policies of a run, expected it"
        " among the run's settings",
    ]
    (line,) = with_own(config, lr="x")
    assert line.startswith("policies.other.lr: 'x' is not accepted")
    (line,) = with_own(config, lr_schedule=[[5, 0.1], [0, 0.1]])
    assert line.startswith("policies.other.lr_schedule: env steps [5.0, 0.0] must rise")
    config.training(lr_schedule=[[5, 0.1], [0, 0.1]])
    assert len(with_own(config, gamma=0.5)) == 1, "the run's own mistakes are said once"
    shared = config_class("DQN")().environment(RockPaperScissors)
    (line,) = with_own(shared, replay_buffer_config={"capacity": 5000})
    assert line.startswith("policies.other.replay_capacity: is one for all policies")


def test_of_a_whole_config_a_policy_takes_what_it_can_have() -> None:
    own = PPOConfig().environment("CartPole-v1").training(gamma=0.5, num_workers=7)
    config = PPOConfig().environment(RockPaperScissors)
    config.multi_agent(policies={"a": (None, None, None, own)})
    assert config.validate() == []
    found = config_for(config, "a")
    assert (found.gamma, found.num_workers, found.env) == (0.5, None, RockPaperScissors)


@pytest.mark.parametrize(
    "to_train", [lambda name: name == "one", lambda name, batch: name == "one", ["one"]]
)
def test_who_learns_is_said_by_a_function_of_the_id_with_or_without_a_batch(to_train: Any) -> None:
    config = PPOConfig().environment(RockPaperScissors)
    config.multi_agent(
        policies=["one", "other"], policy_mapping_fn=by_name, policies_to_train=to_train
    )
    assert config.validate() == []
    assert learning(config, ["one", "other"]) == ["one"]
    assert plain_config(config)["policies_to_train"] == ["one"]


def test_who_learns_may_be_said_where_nobody_names_policies(tmp_path: Path) -> None:
    config = PPOConfig().environment("CartPole-v1").rollouts(num_rollout_workers=0)
    config.multi_agent(policies_to_train=lambda name: True).training(train_batch_size=64)
    with config.build(name="run", results=tmp_path) as algo:
        path = algo.save()
    with PPO.from_checkpoint(path, name="again", results=tmp_path) as again:
        assert again.config.policies_to_train == ["default_policy"]


def test_a_function_that_wants_to_see_a_batch_is_refused() -> None:
    config = PPOConfig().environment(RockPaperScissors)
    (line,) = config.multi_agent(policies_to_train=lambda name, batch: batch.count > 9).validate()
    assert line.startswith("policies_to_train: raised AttributeError(")
    assert "at most None for a batch" in line


def test_a3c_steps_each_policy_with_the_gradient_of_its_own_agents(tmp_path: Path) -> None:
    config = config_class("A3C")().environment(Unlike).debugging(seed=1)
    config.rollouts(num_rollout_workers=0, num_envs_per_worker=4)
    config.training(lr=1e-2, model={"fcnet_hiddens": [16]}).reporting(min_time_s_per_iteration=0)
    config.multi_agent(
        policies=["counter", "artist"], policy_mapping_fn=by_name, policies_to_train=["counter"]
    )
    with config.build(name="run", results=tmp_path) as run:
        before = weights_of(run, "counter", "artist")
        while run.train()["num_updates"] < 60:
            pass
        after = weights_of(run, "counter", "artist")
        assert equal(before["artist"], after["artist"]), "not in policies_to_train"
        assert not equal(before["counter"], after["counter"])
        assert run.compute_single_action(2, policy_id="counter") == 1


def test_a_player_explores_as_its_own_greediest_environment_however_many_agents_act(
    tmp_path: Path,
) -> None:
    """Ape-X has an epsilon for each environment, of which some have no agent that acts now."""
    config = config_class("PPO")().environment(make_multi_agent(CountingEnv)).debugging(seed=1)
    config.environment(env_config={"num_agents": 2})
    config.multi_agent(
        policies={"a": None, "b": PolicySpec(algorithm_class("APEX"))},
        policy_mapping_fn=lambda agent, **_: "ab"[int(agent)],
    )
    config.rollouts(num_workers=0, num_envs_per_worker=3, rollout_fragment_length=20)
    with config.training(train_batch_size=40, num_sgd_iter=1).build(
        results=tmp_path, name="run"
    ) as algo:
        assert set(algo.train()["policy_reward_mean"]) == {"a", "b"}
        (epsilons,) = algo.workers.foreach_worker(
            lambda worker: worker.get_policy("b").epsilons.tolist(), local_worker=False
        )
    assert epsilons == pytest.approx([0.4**8]), "the last rung of Ape-X's ladder"


def test_two_algorithms_learn_in_one_environment_each_its_own_policy(tmp_path: Path) -> None:
    """RLlib's way: two runs, in which the other one's policy plays; weights are exchanged."""
    runs = {"PPO": "DQN", "DQN": "PPO"}
    env, by_agent = make_multi_agent(CountingEnv), lambda agent, **_: ("PPO", "DQN")[int(agent)]
    algos = {}
    for name, other in runs.items():
        small = {"model": {"fcnet_hiddens": [8]}}
        config = config_class(name)().environment(env, env_config={"num_agents": 2})
        config.debugging(seed=1)
        config.multi_agent(
            policies={name: None, other: PolicySpec(algorithm_class(other), config=small)},
            policy_mapping_fn=by_agent,
            policies_to_train=[name],
        )
        config.rollouts(num_workers=0, num_envs_per_worker=2).training(**small)
        config.training(train_batch_size=32)
        algos[name] = config.build(results=tmp_path, name=name)
    with algos["PPO"] as ppo, algos["DQN"] as dqn:
        before = {name: algo.get_weights() for name, algo in algos.items()}
        for _ in range(2):
            assert {"PPO", "DQN"} == set(ppo.train()["policy_reward_mean"])
            dqn.train()
            dqn.set_weights(ppo.get_weights(["PPO"]))
            ppo.set_weights(dqn.get_weights(["DQN"]))
        for name in runs:
            theirs, others = ppo.get_policy(name).get_weights(), dqn.get_policy(name).get_weights()
            assert all(np.array_equal(theirs[key], others[key]) for key in theirs)
            assert any(not np.array_equal(theirs[k], before[name][name][k]) for k in theirs)
        (at_worker,) = ppo.workers.foreach_worker(
            lambda worker: worker.get_policy("DQN").get_weights(), local_worker=False
        )
        assert all(np.array_equal(x, at_worker[key]) for key, x in theirs.items())
        path = ppo.save()
    more = {"policy_mapping_fn": by_agent, "results": tmp_path}
    with PPO.from_checkpoint(path, env, name="again", **more) as ppo:
        assert ppo.train()["training_iteration"] == 3
        assert all(np.array_equal(x, ppo.get_weights()["DQN"][key]) for key, x in theirs.items())
