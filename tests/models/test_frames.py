from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import FrameStackObservation

from actorrl.models.frames import stack_frames

torch.set_num_threads(1)


class Stamps(gym.Env):
    """Every observation is a different 2x2 image; episodes end after 1 to 7 steps."""

    observation_space = gym.spaces.Box(0, 255, (2, 2), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, seed):
        self.random, self.count = np.random.default_rng(seed), 0

    def image(self):
        self.count += 1
        return np.full((2, 2), self.count % 256, np.uint8)

    def reset(self, *, seed=None, options=None):
        self.left = int(self.random.integers(1, 8))
        return self.image(), {}

    def step(self, action):
        self.left -= 1
        return self.image(), 0.0, self.left == 0, False, {}


def test_equal_gymnasiums_stacks_bit_by_bit_across_resets():
    k, rows, envs = 4, 60, 3
    frames = np.zeros((k - 1 + rows, envs, 2, 2), np.uint8)
    age = np.zeros((rows, envs), np.int32)
    expected = np.zeros((rows, envs, k, 2, 2), np.uint8)
    for b in range(envs):
        env = FrameStackObservation(Stamps(b), k, padding_type="reset")
        obs, _ = env.reset()
        for t in range(rows):
            frames[k - 1 + t, b], expected[t, b] = obs[-1], obs
            if t + 1 == rows:
                break
            obs, _, end, _, _ = env.step(0)
            age[t + 1, b] = age[t, b] + 1
            if end:  # the reset observation takes the place of the final one
                obs, _ = env.reset()
                age[t + 1, b] = 0
    stacks = stack_frames(torch.from_numpy(frames), torch.from_numpy(age), k)
    np.testing.assert_array_equal(stacks.numpy(), expected)


def test_lead_in_frames_fill_the_stacks_of_the_first_rows():
    k, rows = 3, 2
    frames = torch.arange(k - 1 + rows, dtype=torch.uint8).view(-1, 1, 1, 1)
    long_ago = torch.full((rows, 1), 50, dtype=torch.int32)
    stacks = stack_frames(frames, long_ago, k)
    assert stacks.flatten().tolist() == [0, 1, 2, 1, 2, 3]
    more = torch.cat([torch.full((2, 1, 1, 1), 99, dtype=torch.uint8), frames])
    assert torch.equal(stack_frames(more, long_ago, k), stacks)
