"""Algorithms that are built from a policy's own loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from actorrl import Algorithm, AlgorithmConfig, SampleBatch, build_trainer, make_policy
from actorrl.algorithms.ppo import PPOConfig
from actorrl.envs.multi_agent import make_multi_agent
from actorrl.errors import ConfigError, RunFailed
from actorrl.examples.custom_policy import MyTorchPolicy, MyTrainer, policy_gradient_loss
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.testing.probe_envs import CountingEnv


class Sides(gym.Env[Any, Any]):
    """One step each: the sign of what is seen says which action is paid."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, **options: Any) -> Any:
        super().reset(seed=options.get("seed"))
        self.seen = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.seen, {}

    def step(self, action: Any) -> Any:
        return self.seen, 1.0 if action == (self.seen[0] > 0) else -1.0, True, False, {}


Learner = make_policy(loss_fn=policy_gradient_loss, name="Learner")
OfSides = build_trainer("OfSides", Learner)
SMALL = {"num_workers": 0, "train_batch_size": 200, "lr": 0.02, "model": {"fcnet_hiddens": [16]}}


def test_a_policy_of_ones_own_loss_learns_in_a_run(tmp_path: Path) -> None:
    settings = {**SMALL, "seed": 1}
    with OfSides(settings, env=Sides, results=tmp_path, name="run") as algo:
        assert isinstance(algo.newest_policy(), Learner)
        first = algo.train()
        for _ in range(25):
            last = algo.train()
        path = algo.save()
        weights = algo.get_policy().get_weights()
    assert first["episode_reward_mean"] < 0.5 and last["episode_reward_mean"] > 0.8
    assert np.isfinite(last["info"]["learner"]["total_loss"])
    with Algorithm.from_checkpoint(path, env=Sides, results=tmp_path, name="again") as again:
        assert type(again) is OfSides, "found by its import path"
        np.testing.assert_equal(again.get_policy().get_weights(), weights)
        assert again.train()["training_iteration"] == 27


SEEN: list[SampleBatch] = []


def doubled(
    policy: Any, sample_batch: SampleBatch, others: Any = None, episode: Any = None
) -> SampleBatch:
    SEEN.append(sample_batch)
    return SampleBatch({**sample_batch, "twice": 2 * sample_batch["rewards"]})


def loss_of_doubled(policy: Any, model: Any, dist_class: Any, train_batch: Any) -> Any:
    logits, _ = model.from_batch(train_batch)
    return -torch.mean(dist_class(logits).logp(train_batch["actions"]) * train_batch["twice"])


Doubled = make_policy(loss_fn=loss_of_doubled, postprocess_fn=doubled)


def test_an_update_is_a_step_along_the_users_loss_of_postprocessed_episodes(
    tmp_path: Path,
) -> None:
    """The learner's, against the policy that learns by itself."""
    SEEN.clear()
    config = AlgorithmConfig(build_trainer("Doubled", Doubled)).environment(CountingEnv)
    config.rollouts(num_workers=0, num_envs_per_worker=2, rollout_fragment_length=20)
    config.training(train_batch_size=40, model={"fcnet_hiddens": [8]}).debugging(seed=3)
    with config.build(results=tmp_path, name="run") as algo:
        info, before = algo.info, algo.get_policy().get_weights()
        stats = algo.train()["info"]["learner"]
        after = algo.get_policy().get_weights()
    assert all(piece["t"][0] == 0 and piece["dones"][-1] for piece in SEEN), "whole episodes"
    alone = Doubled(info.observation_space, info.action_space, {"model": {"fcnet_hiddens": [8]}})
    alone.set_weights(before)
    batch = SampleBatch.concat_samples([doubled(None, piece) for piece in list(SEEN)])
    (gradient,), own = alone.compute_gradients(batch)
    assert stats["total_loss"] == pytest.approx(own["total_loss"], abs=1e-5)
    assert stats["grad_gnorm"] == pytest.approx(own["grad_gnorm"], abs=1e-4)
    moved = np.concatenate([(after[n] - before[n]).ravel() for n in before])
    large = np.abs(gradient) > 1e-3  # Adam's first step is lr against the gradient's sign
    np.testing.assert_allclose(moved[large], -1e-3 * np.sign(gradient[large]), rtol=0.02)


def test_the_policys_own_defaults_hold_where_the_run_says_nothing_else(tmp_path: Path) -> None:
    said = {"num_workers": 0, "num_envs_per_worker": 2, "model": {"fcnet_hiddens": [8]}}
    with MyTrainer(said, env="CartPole-v1", results=tmp_path, name="run") as algo:
        assert algo.config.lr == 0.01 and algo.get_policy().config["baseline"] == 20.0
    with MyTrainer({**said, "lr": 1e-3}, "CartPole-v1", results=tmp_path, name="lr") as algo:
        assert algo.config.lr == 1e-3 and algo.get_policy().config["lr"] == 1e-3


def test_workers_and_evaluators_of_their_own_have_the_users_policy(tmp_path: Path) -> None:
    config = AlgorithmConfig(OfSides).environment(Sides).update_from_dict(SMALL)
    config.rollouts(num_workers=1).evaluation(evaluation_num_workers=1)
    with config.build(results=tmp_path, name="run") as algo:
        names = algo.foreach_worker(lambda worker: type(worker.get_policy()).__name__)
        assert names[1] == "Learner"
        assert algo.evaluate(episodes=3)["episodes"] == 3
        sums = algo.foreach_worker(
            lambda worker: worker.compute_gradients(worker.sample())[1]["total_loss"]
        )
        assert len(sums) == 2 and np.isfinite(sums).all()


def test_what_cannot_be_built_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a class that build_torch_policy has made"):
        build_trainer("None", ActorCriticPolicy)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="use_lstm"):
        MyTrainer({"model": {"use_lstm": True}}, env="CartPole-v1", results=tmp_path)
    with pytest.raises(ConfigError, match="one policy of one agent"):
        OfSides({"policies": ["a"]}, env=make_multi_agent(Sides), results=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    nan = make_policy(loss_fn=lambda p, model, d, batch: model(batch)[0].sum() * float("nan"))
    with (
        build_trainer("NaN", nan)(SMALL, env=Sides, results=tmp_path) as algo,
        pytest.raises(RunFailed, match="total_loss"),
    ):
        algo.train()


def test_in_a_run_of_another_algorithm_it_plays(tmp_path: Path) -> None:
    config = PPOConfig().environment(make_multi_agent(Sides), env_config={"num_agents": 2})
    config.multi_agent(
        policies={"learns": (None, None, None, {}), "plays": (MyTorchPolicy, None, None, {})},
        policy_mapping_fn=lambda agent, **_: "plays" if agent else "learns",
    )
    config.rollouts(num_workers=0, num_envs_per_worker=2).training(train_batch_size=200)
    with config.build(results=tmp_path, name="run") as algo:
        before = algo.get_policy("plays").get_weights()
        algo.train()
        np.testing.assert_equal(algo.get_policy("plays").get_weights(), before)
