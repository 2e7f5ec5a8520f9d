import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from actorrl.testing.probe_envs import (
    AliasedCorridor,
    CartPoleWithoutVelocities,
    Chain,
    ConstantReward,
    CountingEnv,
    MemoryCue,
)


@pytest.mark.parametrize(
    "env",
    [
        ConstantReward(),
        ConstantReward(3, False),
        Chain(),
        CountingEnv({"lengths": [5]}),
        MemoryCue(),
        AliasedCorridor(),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_probes_keep_gymnasiums_contract(env):
    check_env(env, skip_render_check=True)


def test_the_last_step_of_a_chain_pays():
    env = Chain(5)
    env.reset()
    steps = [env.step(0) for _ in range(5)]
    assert [step[1] for step in steps] == [0, 0, 0, 0, 1]
    assert [step[2] for step in steps] == [False] * 4 + [True]


def test_a_counting_environment_ends_as_its_list_says():
    env = CountingEnv({"lengths": [2, -1]})
    for length, truncated in ((2, False), (1, True), (2, False)):
        env.reset()
        steps = [env.step(0) for _ in range(length)]
        assert [step[2] or step[3] for step in steps] == [False] * (length - 1) + [True]
        assert steps[-1][3] == truncated


def test_the_cue_must_be_remembered():
    env = MemoryCue(delay=2)
    obs, _ = env.reset(seed=0)
    cue = int(np.argmax(obs[:2]))
    between = [env.step(1 - cue) for _ in range(2)]
    assert [step[0].tolist() for step in between] == [[0, 0, 0], [0, 0, 1]]
    assert env.step(cue)[1:3] == (1.0, True)


def test_right_with_probability_59_walks_the_corridor_in_eleven_point_six_steps():
    random, env = np.random.default_rng(0), AliasedCorridor()
    lengths = []
    for _ in range(4000):
        env.reset()
        ended = (False, False)
        steps = 0
        while not any(ended):
            ended = env.step(int(random.random() < 0.59))[2:4]
            steps += 1
        lengths.append(steps)
    assert np.mean(lengths) == pytest.approx(11.6, abs=0.5)


def test_a_corridor_walked_one_way_only_never_ends():
    env = AliasedCorridor(limit=50)
    for action in (0, 1):
        env.reset()
        assert [env.step(action)[2:4] for _ in range(50)] == [(False, False)] * 49 + [(False, True)]


def test_positions_are_all_that_is_left_of_cartpole():
    env = CartPoleWithoutVelocities()
    obs, _ = env.reset(seed=3)
    assert env.observation_space.contains(obs)
    assert obs.tolist() == np.asarray(env.unwrapped.state, np.float32)[::2].tolist()
