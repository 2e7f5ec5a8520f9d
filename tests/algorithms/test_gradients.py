"""`compute_gradients` and `apply_gradients`: what `learn_on_batch` does, in two steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actorrl.algorithms.registry import config_class
from actorrl.data.sample_batch import concat_samples
from actorrl.envs.multi_agent import make_multi_agent
from actorrl.errors import CallError, ConfigError

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


def small(name: str, env: Any = COUNTING, **settings: Any) -> Any:
    config = config_class(name)().environment(env).debugging(seed=1)
    config.rollouts(num_workers=0, num_envs_per_worker=3, rollout_fragment_length=20)
    return config.training(model={"fcnet_hiddens": [8]}, **settings)


def sample(algo: Any) -> Any:
    return algo.workers.local_worker().sample()


def weights_of(algo: Any, policy_id: str = "default_policy") -> dict[str, np.ndarray]:
    weights: dict[str, np.ndarray] = algo.get_policy(policy_id).get_weights()
    return weights


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("PG", {}),
        ("A2C", {}),
        ("A3C", {}),
        ("IMPALA", {}),
        ("PPO", {"num_sgd_iter": 1, "sgd_minibatch_size": 1000}),
        ("DQN", {"adam_epsilon": 1.0}),
    ],
)
def test_a_gradient_that_is_applied_is_an_update_with_the_same_rows(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """But for the value head, whose units follow the targets when an update is made."""
    with small(name, lr=0.01, **settings).build(results=tmp_path, name="run") as algo:
        policy, samples = algo.get_policy(), sample(algo)
        before, state = weights_of(algo), algo.get_state()
        gradients, stats = policy.compute_gradients(samples)
        np.testing.assert_equal(weights_of(algo), before)
        assert algo.pause()["num_updates"] == state["learner"]["num_updates"]
        assert np.isfinite(list(stats.values())).all()
        policy.learn_on_batch(samples)
        updated = weights_of(algo)
        algo.set_state(state)
        policy.apply_gradients(gradients)
        stepped = weights_of(algo)
        assert algo.pause()["num_updates"] == state["learner"]["num_updates"] + 1
        for key in updated:
            if "value" not in key:
                np.testing.assert_allclose(stepped[key], updated[key], atol=2e-6, err_msg=key)
        assert any((stepped[key] != before[key]).any() for key in stepped if "value" not in key)


def test_a_part_that_an_update_leaves_out_has_no_gradient_and_stays_as_it_is(
    tmp_path: Path,
) -> None:
    """TD3's actor, whose step comes with every second update."""
    with small("TD3", "Pendulum-v1").build(results=tmp_path, name="run") as algo:
        policy, samples = algo.get_policy(), sample(algo)
        actor = policy.flat.span("actor")
        policy.learn_on_batch(samples)
        assert policy.compute_gradients(samples)[0][0][actor].any(), "of the second update"
        policy.learn_on_batch(samples)
        (gradient,), _ = policy.compute_gradients(samples)
        assert gradient.any() and not gradient[actor].any()
        before = policy.flat_weights()
        policy.apply_gradients([gradient])
        changed = policy.flat_weights() != before
        assert changed.any() and not changed[actor].any(), "its momentum alone moves nothing"


def test_a_gradient_of_a3c_is_of_the_entropys_weight_of_now(tmp_path: Path) -> None:
    settings = {"entropy_coeff_schedule": [[0, 100.0], [1000, 0.0]], "grad_clip": None}
    with small("A3C", **settings).build(results=tmp_path, name="run") as algo:
        policy, samples = algo.get_policy(), sample(algo)
        first, state = policy.compute_gradients(samples)[0][0], algo.get_state()
        algo.set_state({**state, "learner": {**state["learner"], "timesteps_total": 1000}})
        last = policy.compute_gradients(samples)[0][0]
    with small("A3C", grad_clip=None).build(results=tmp_path, name="without") as algo:
        wanted = algo.get_policy().compute_gradients(samples)[0][0]
    np.testing.assert_allclose(last, wanted, atol=1e-6)
    assert np.abs(first - wanted).max() > 1e-3


def test_gradients_of_parts_add_up_to_that_of_the_whole(tmp_path: Path) -> None:
    """Each of the mean over its rows."""
    with small("A2C", grad_clip=None).build(results=tmp_path, name="run") as algo:
        policy, samples = algo.get_policy(), sample(algo)
        pieces = samples.split_by_episode()
        parts = [concat_samples(pieces[:3]), concat_samples(pieces[3:])]
        whole = policy.compute_gradients(samples)[0][0]
        found = [policy.compute_gradients(part)[0][0] for part in parts]
    rows = np.array([part.count for part in parts])
    assert rows.sum() == samples.count and len(set(rows)) == 2 and np.abs(whole).max() > 1e-3
    together = sum(n * gradient for n, gradient in zip(rows, found, strict=True)) / rows.sum()
    np.testing.assert_allclose(together, whole, rtol=1e-3, atol=2e-5)


def test_all_rows_count_at_once_where_updates_take_minibatches(tmp_path: Path) -> None:
    with small("PPO", sgd_minibatch_size=8, num_sgd_iter=3).build(results=tmp_path) as algo:
        policy, samples = algo.get_policy(), sample(algo)
        (gradient,), stats = policy.compute_gradients(samples)
        (again,), _ = policy.compute_gradients(samples)
        assert stats["num_sgd_steps"] == 1
        np.testing.assert_allclose(gradient, again, atol=1e-6)


@pytest.mark.parametrize("name", ["PPO", "A3C"])
def test_one_of_several_policies_is_differentiated_and_stepped_alone(
    name: str, tmp_path: Path
) -> None:
    config = small(name, make_multi_agent(COUNTING)).environment(env_config={"num_agents": 2})
    config.multi_agent(policies=["a", "b"], policy_mapping_fn=lambda agent, **_: "ab"[int(agent)])
    with config.build(results=tmp_path, name="run") as algo:
        local = algo.workers.local_worker()
        both = local.compute_gradients(local.sample())
        assert set(both) == {"a", "b"}
        before = {policy_id: weights_of(algo, policy_id) for policy_id in "ab"}
        for _ in range(2):  # the second time there is momentum
            local.apply_gradients({"b": both["b"][0]})
        np.testing.assert_equal(weights_of(algo, "a"), before["a"])
        after = weights_of(algo, "b")
        assert any((after[key] != before["b"][key]).any() for key in after)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with small("PPO").build(results=tmp_path, name="run") as algo:
        policy, samples = algo.get_policy(), sample(algo)
        (gradient,), _ = policy.compute_gradients(samples)
        for wrong in ([gradient[:-1]], [gradient, gradient], []):
            with pytest.raises(ConfigError, match="apply_gradients: arrays of shapes"):
                policy.apply_gradients(wrong)
        with pytest.raises(ConfigError, match="NaN or infinity"):
            policy.apply_gradients([gradient * np.nan])
        with pytest.raises(ConfigError, match="no column 'actions'"):
            policy.compute_gradients({"obs": samples["obs"]})
        with pytest.raises(CallError, match=r"algo\.get_policy\(\)\.compute_gradients"):
            algo.workers.foreach_worker(
                lambda worker: worker.compute_gradients(worker.sample()), local_worker=False
            )
