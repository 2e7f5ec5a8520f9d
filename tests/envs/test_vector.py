import math

import gymnasium as gym
import numpy as np
import pytest

from actorrl.envs.multi_agent import MultiAgentVector, make_multi_agent
from actorrl.envs.native_vector import NativeVector
from actorrl.envs.python_vector import PythonVector
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import make_vector
from actorrl.errors import EnvironmentFailure
from actorrl.testing.probe_envs import Chain, ConstantReward, CountingEnv


class Faulty(ConstantReward):
    """Raises, or breaks Gymnasium's contract, in one of its environments."""

    def __init__(self, config):
        super().__init__(4)
        self.bad = config.vector_index == config.get("index", 1)
        self.fault = config["fault"]
        if self.bad and self.fault == "make":
            raise RuntimeError("no licence")

    def reset(self, *, seed=None, options=None):
        if self.bad and self.fault == "reset":
            raise RuntimeError("no map")
        obs, info = super().reset(seed=seed)
        if self.bad and self.fault == "old reset":
            return obs
        return (np.zeros(3, np.float32) if self.bad and self.fault == "shape" else obs), info

    def step(self, action):
        result = super().step(action)
        if self.bad and self.fault == "step":
            raise KeyError("lost")
        if self.bad and self.fault == "old step":
            return result[:4]
        return result


def test_an_environment_that_has_a_vectoriser_uses_it():
    assert isinstance(make_vector("CartPole-v1", {}, 2), NativeVector)
    assert isinstance(make_vector("CartPole-v1", {"sutton_barto_reward": True}, 2), NativeVector)


@pytest.mark.parametrize(
    ("env", "env_config", "options"),
    [
        ("CartPole-v1", {}, {"native": False}),
        ("CartPole-v1", {}, {"autoreset": "same_step"}),  # its vectoriser has NEXT_STEP only
        ("Acrobot-v1", {}, {}),
        (Chain, {"n": 3}, {}),
    ],
)
def test_otherwise_our_own_loop_steps_it(env, env_config, options):
    vector = make_vector(env, env_config, 2, **options)
    assert isinstance(vector, PythonVector)
    assert vector.autoreset == options.get("autoreset", "next_step")
    assert vector.frame_stack == 1


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_our_loop_does_what_gymnasiums_does(autoreset):
    mode = gym.vector.AutoresetMode.NEXT_STEP
    if autoreset == "same_step":
        mode = gym.vector.AutoresetMode.SAME_STEP
    theirs = gym.vector.SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 3, autoreset_mode=mode)
    ours = make_vector("CartPole-v1", {}, 3, seed=4, autoreset=autoreset, native=False)
    np.testing.assert_array_equal(ours.reset(), theirs.reset(seed=4)[0])
    random = np.random.default_rng(0)
    for _ in range(120):
        actions = random.integers(0, 2, 3)
        result = ours.step(actions)
        obs, rewards, terminateds, truncateds, info = theirs.step(actions)
        np.testing.assert_array_equal(result.obs, obs)
        np.testing.assert_array_equal(result.rewards, rewards)
        np.testing.assert_array_equal(result.terminateds, terminateds)
        np.testing.assert_array_equal(result.truncateds, truncateds)
        if "final_obs" in info:
            final = info["final_obs"][info["_final_obs"]]
            np.testing.assert_array_equal(result.final_obs, np.stack(final))
            np.testing.assert_array_equal(result.final_envs, np.flatnonzero(info["_final_obs"]))
        else:
            assert result.final_obs is None


def test_the_vectoriser_of_cartpole_truncates_as_registered():
    vector = make_vector("CartPole-v1", {"max_episode_steps": 5}, 2, seed=0)
    vector.reset()
    flags = [vector.step(np.array([t % 2, t % 2])).truncateds.tolist() for t in range(6)]
    assert flags == [[False, False]] * 4 + [[True, True]] + [[False, False]]


def test_results_are_never_written_again():
    for env, native in (("CartPole-v1", True), ("CartPole-v1", False)):
        vector = make_vector(env, {}, 3, seed=0, native=native)
        arrays = [vector.reset()]
        for _ in range(5):
            result = vector.step(np.zeros(3, np.int64))
            arrays += [a for a in result if a is not None]
        copies = [a.copy() for a in arrays]
        for _ in range(30):
            vector.step(np.ones(3, np.int64))
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_each_environment_has_its_own_context_and_seed():
    vector = make_vector(CountingEnv, {"max_length": 99}, 3, worker_index=2, num_workers=5, seed=7)
    obs = vector.reset()
    assert obs[:, 0].tolist() == [0, 1, 2]
    contexts = vector.contexts
    assert [x.worker_index for x in contexts] == [2, 2, 2]
    assert [x.num_workers for x in contexts] == [5, 5, 5]
    alone = make_vector(CountingEnv, {"max_length": 99}, 1, seed=8)
    alone.reset()
    assert alone.envs[0]._length == vector.envs[1]._length
    assert len({env._length for env in vector.envs}) > 1


def test_the_seed_given_when_made_counts_for_the_first_reset_only():
    vector = make_vector("CartPole-v1", {}, 2, seed=3, native=False)
    first, second = vector.reset(), vector.reset()
    assert (first != second).any()
    np.testing.assert_array_equal(vector.reset(seed=3), first)


class SeededInC(ConstantReward):
    """Its simulator takes a seed of 31 bits."""

    def reset(self, *, seed=None, options=None):
        self.seed = None if seed is None else np.int32(seed)
        return super().reset(seed=seed)


@pytest.mark.parametrize("seed", [2**31 - 1, 2**32 - 1])
def test_seeds_fit_into_31_bits(seed):
    vector = make_vector(SeededInC, {}, 3, seed=seed)
    vector.reset()
    assert len({env.seed for env in vector.envs}) == 3
    copies = make_multi_agent(SeededInC)(EnvContext({"num_agents": 3}))
    several = MultiAgentVector(lambda context: copies, [EnvContext()], seed=seed)
    several.reset(0)
    assert len({env.seed for env in copies.envs}) == 3


def test_actions_that_count_from_elsewhere_are_the_environments_and_observations_are_moved():
    class Shifted(gym.Env):
        observation_space = gym.spaces.Discrete(3, start=5)
        action_space = gym.spaces.Discrete(2, start=-1)

        def reset(self, *, seed=None, options=None):
            return 5, {}

        def step(self, action):
            assert action in (-1, 0) and isinstance(action, int)
            return 6 + action, float(action), False, False, {}

    vector = make_vector(Shifted, {}, 2)
    assert vector.action_space == Shifted.action_space
    assert vector.observation_space.shape == (3,)
    assert vector.reset().tolist() == [[1, 0, 0]] * 2
    result = vector.step(np.array([-1, 0]))
    assert result.rewards.tolist() == [-1.0, 0.0]
    assert result.obs.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_continuous_actions_reach_the_environment_as_rows():
    vector = make_vector("Pendulum-v1", {}, 3, seed=0)
    vector.reset()
    result = vector.step(np.array([[0.5], [0.0], [-2.0]], np.float32))
    assert result.obs.shape == (3, 3)
    assert result.rewards.dtype == np.float32


@pytest.mark.parametrize(
    ("fault", "phase", "reason"),
    [
        ("make", "make", "RuntimeError: no licence"),
        ("reset", "reset", "RuntimeError: no map"),
        ("step", "step", "KeyError: 'lost'"),
        ("old reset", "reset", "must return \\(obs, info\\)"),
        ("old step", "step", "must return \\(obs, reward, terminated, truncated, info\\)"),
        ("shape", "reset", "shape \\(3,\\), but observation_space has \\(2,\\)"),
    ],
)
def test_an_error_names_worker_environment_and_phase(fault, phase, reason):
    with pytest.raises(EnvironmentFailure, match=reason) as caught:
        vector = make_vector(Faulty, {"fault": fault}, 3, worker_index=2)
        vector.reset()
        vector.step(np.zeros(3, np.int64))
    assert f"environment 1 of worker 2 failed in {phase}" in str(caught.value)
    assert caught.value.exit_code == 1


def test_the_traceback_is_the_users_own():
    with pytest.raises(EnvironmentFailure) as caught:
        make_vector(Faulty, {"fault": "make"}, 3)
    text = caught.value.user_traceback
    assert text.startswith("Traceback (most recent call last):\n")
    assert 'raise RuntimeError("no licence")' in text
    assert text.endswith("RuntimeError: no licence\n")
    assert "python_vector.py" not in text and "registry.py" not in text


class Later(ConstantReward):
    """Well-behaved until its third step, then what it was told to return."""

    def __init__(self, config):
        super().__init__()
        self.config, self.steps = config, 0

    def step(self, action):
        self.steps += 1
        obs, reward = np.zeros(2, np.float32), 1.0
        if self.steps == 3 and self.config.vector_index == 1:
            obs = np.array(self.config.get("obs", obs), np.float32)
            reward = self.config.get("reward", reward)
        return obs, reward, False, False, {}


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ({"obs": [0, math.nan]}, r"an observation whose element \[1\] is nan, expected a number"),
        ({"reward": math.nan}, "the reward nan, expected a finite number"),
        ({"reward": math.inf}, "the reward inf, expected a finite number"),
        ({"reward": "1.0"}, "the reward '1.0', expected a finite number"),
        ({"reward": None}, "the reward None, expected a finite number"),
        ({"reward": [1.0, 2.0]}, r"the reward \[1.0, 2.0\], expected a finite number"),
    ],
)
def test_what_is_no_number_is_refused_at_once_and_not_with_a_stack_of_ours(returned, reason):
    vector = make_vector(Later, returned, 3, worker_index=2)
    vector.reset()
    for _ in range(2):
        vector.step(np.zeros(3, np.int64))
    with pytest.raises(EnvironmentFailure, match=reason) as caught:
        vector.step(np.zeros(3, np.int64))
    assert "environment 1 of worker 2 failed in step" in str(caught.value)
    assert caught.value.user_traceback == ""


@pytest.mark.parametrize("reward", [2, True, np.float64(2), np.array(2), np.array([[2.0]])])
def test_a_reward_may_be_any_one_number(reward):
    vector = make_vector(Later, {"reward": reward}, 2)
    vector.reset()
    rewards = [vector.step(np.zeros(2, np.int64)).rewards[1] for _ in range(3)]
    assert rewards == [1.0, 1.0, 1.0 if reward is True else 2.0]


@pytest.mark.parametrize("phase", ["reset", "step"])
def test_a_first_observation_outside_its_space_is_refused(phase):
    class Outside(ConstantReward):
        def __init__(self, config):
            super().__init__()
            self.shift = 7.0 * (config.vector_index == 1)

        def reset(self, *, seed=None, options=None):
            obs, info = super().reset(seed=seed)
            return obs + self.shift * (phase == "reset"), info

        def step(self, action):
            obs, *rest = super().step(action)
            return obs + self.shift, *rest

    with pytest.raises(
        EnvironmentFailure, match=r"is [78]\.0, allowed are -1\.0 to 1\.0"
    ) as caught:
        vector = make_vector(Outside, {}, 3, worker_index=2)
        vector.reset()
        vector.step(np.zeros(3, np.int64))
    assert f"environment 1 of worker 2 failed in {phase}" in str(caught.value)


def test_infinite_observations_are_numbers():
    infinite = {"obs": [math.inf, -math.inf]}
    vector = make_vector(Later, infinite, 3)
    vector.reset()
    for _ in range(3):
        result = vector.step(np.zeros(3, np.int64))
    assert np.isinf(result.obs[1]).all()


class Pixels(Later):
    def __init__(self, config):
        super().__init__(config)
        self.observation_space = gym.spaces.Box(0, 255, (2,), np.uint8)


@pytest.mark.parametrize("number", [0.5, -1.0, 256.0])
def test_numbers_are_not_cut_off_in_silence(number):
    vector = make_vector(Pixels, {"obs": [3.0, number]}, 3)
    vector.reset()
    for _ in range(2):
        assert vector.step(np.zeros(3, np.int64)).obs.dtype == np.uint8
    said = rf"step\(\) returned an observation with {number} as element \[1\], but .* has uint8"
    with pytest.raises(EnvironmentFailure, match=said):
        vector.step(np.zeros(3, np.int64))


def test_something_that_is_no_environment_is_named():
    with pytest.raises(EnvironmentFailure, match=r"expected a gymnasium\.Env, got a builtins\.int"):
        make_vector(lambda context: 3, {}, 1)


@pytest.mark.parametrize("space", [None, 4])
@pytest.mark.parametrize("name", ["observation_space", "action_space"])
def test_an_environment_without_a_space_is_named_with_what_it_lacks(name, space):
    env = Later({})
    setattr(env, name, space)
    has = "has none" if space is None else "has 4"
    said = rf"{name} must be a gymnasium\.spaces\.Space: Later {has}"
    with pytest.raises(EnvironmentFailure, match=said):
        make_vector(lambda context: env, {}, 1)


class OfAnotherMind(gym.vector.VectorEnv):
    """Says nothing of how it resets."""

    def __init__(self, num_envs=1, mode=None, is_dict=False):
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": mode}
        self.single_observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        if is_dict:
            self.single_observation_space = gym.spaces.Dict(a=self.single_observation_space)
        self.single_action_space = gym.spaces.Discrete(2)
        self.observation_space = self.action_space = None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mode": gym.vector.AutoresetMode.SAME_STEP},
        {"mode": gym.vector.AutoresetMode.NEXT_STEP, "is_dict": True},
    ],
)
def test_a_vectoriser_that_steps_otherwise_than_we_do_is_left_alone(settings):
    def single(**config):
        return ConstantReward()

    gym.register("Otherwise-v0", entry_point=single, vector_entry_point=OfAnotherMind)
    try:
        assert isinstance(make_vector("Otherwise-v0", settings, 2), PythonVector)
    finally:
        del gym.registry["Otherwise-v0"]


def test_a_vector_of_the_users_own_is_told_its_place():
    with pytest.raises(EnvironmentFailure, match=r"OfAnotherMind: register an id with it"):
        make_vector(lambda context: OfAnotherMind(), {}, 2)


def test_an_error_in_a_vectoriser_is_the_environments_too():
    vector = make_vector("CartPole-v1", {}, 2, worker_index=1)
    with pytest.raises(EnvironmentFailure, match="an environment of worker 1 failed in step"):
        vector.step(np.array([0, 0]))  # never reset
