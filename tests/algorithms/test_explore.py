"""`explore: false`: workers act greedily, whatever else the algorithm's exploration is set to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actorrl.algorithms.base import Setup
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.data import columns as c
from actorrl.envs.multi_agent import make_multi_agent
from actorrl.errors import ConfigError
from actorrl.policies.base import Policy
from actorrl.roles.rollout_worker import make_source

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
CASES: list[tuple[str, str, dict[str, Any]]] = [
    *((name, COUNTING, {}) for name in ("PG", "A2C", "A3C", "IMPALA", "APPO", "DQN", "APEX")),
    ("PPO", "Pendulum-v1", {}),
    ("PPO", COUNTING, {"batch_mode": "complete_episodes"}),
    ("DQN", COUNTING, {"noisy": True}),
    ("DQN", COUNTING, {"exploration_type": "soft_q"}),
    ("SAC", COUNTING, {}),
    *((name, "Pendulum-v1", {}) for name in ("SAC", "DDPG", "TD3", "APEX_DDPG")),
]


def workers_part(config: Any) -> tuple[Any, Any]:
    """The policy of a run's first worker as it begins, and what makes its fragments."""
    program = config.algorithm.program(config, Setup(checked(config), 0, lambda: None))
    settings, make_policy, *_ = program.nodes["rollout/0"].args
    policy = make_policy(0, settings.env_indices(0))
    policy.timesteps = 0  # at the start of all schedules
    env, collector = make_source(settings, 0, 0, policy)
    fragment = collector.collect()
    env.close()
    return policy, fragment


@pytest.mark.parametrize(("name", "env", "more"), CASES)
def test_workers_act_greedily(name: str, env: str, more: dict[str, Any]) -> None:
    config = config_class(name)().environment(env).exploration(explore=False).training(**more)
    config.rollouts(num_workers=0, num_envs_per_worker=4, rollout_fragment_length=20)
    policy, fragment = workers_part(config.training(model={"fcnet_hiddens": [8]}))
    columns = fragment.columns
    decided = columns[c.VALID]
    obs, actions = columns[c.OBS][:-1][decided], columns[c.ACTIONS][decided]
    np.testing.assert_allclose(policy.act(obs, (), False).actions, actions, atol=1e-5)


class Curious(Policy):
    """Acts 1 where it explores."""

    def compute_actions(self, obs_batch: Any, *_: Any, explore: Any = None, **__: Any) -> Any:
        return np.full(len(obs_batch), int(explore)), [], {}


def test_each_of_several_policies_has_its_own_setting() -> None:
    policies = {
        "learns": (None, None, None, {"explore": False}),
        "still": (Curious, None, None, {"explore": False}),
        "curious": (Curious, None, None, {}),
    }
    config = config_class("PPO")().environment(make_multi_agent("CartPole-v1"))
    config.environment(env_config={"num_agents": 3})
    config.rollouts(num_workers=0, num_envs_per_worker=2, rollout_fragment_length=20)
    config.multi_agent(policies=policies, policy_mapping_fn=lambda agent: list(policies)[agent])
    made, fragment = workers_part(config)
    groups = fragment.groups
    decided = {name: group[c.ACTIONS][group[c.VALID]] for name, group in groups.items()}
    assert (decided["still"] == 0).all() and (decided["curious"] == 1).all()
    group = groups["learns"]
    greedy = made["learns"].act(group[c.OBS][0], (), False).actions
    np.testing.assert_array_equal(group[c.ACTIONS][0], greedy)


def test_the_drivers_policy_does_as_the_workers_do() -> None:
    """What `algo.get_policy()` passes on to: RLlib's `compute_actions` without `explore`."""
    config = config_class("DQN")().environment(COUNTING).exploration(explore=False)
    setup = Setup(checked(config), 0, lambda: None)
    policy = setup.acting(config, config.algorithm.make_policy)(0, np.arange(1))
    policy.timesteps = 0
    obs = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    np.testing.assert_array_equal(policy.compute_actions(obs)[0], policy.act(obs, (), False)[0])


@pytest.mark.parametrize("name", ["ES", "ARS"])
def test_evolution_cannot_do_without(name: str) -> None:
    config = config_class(name)().environment("CartPole-v1").exploration(explore=False)
    with pytest.raises(ConfigError, match=r"explore: false with ES and ARS.*expected true"):
        config.program()
