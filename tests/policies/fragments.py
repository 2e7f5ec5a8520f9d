"""Fragments made by acting step by step over observations that need no environment.

T rows, B environments, k frames in a stack. Episodes have random lengths; every environment runs
through several of them.
"""

from __future__ import annotations

import numpy as np

from actorrl.data import columns as c


class Stream:
    """Endless observations of B environments with NEXT_STEP autoreset, and a policy acting on them.

    `policy.act` gets one row at a time, as from a collector: stacks where there are frames,
    the recurrent state zeroed before an episode's first observation.
    """

    def __init__(self, policy, B, seed=0, mean_length=6):
        self.policy, self.B, self.k = policy, B, policy.frame_stack
        self.random, self.mean_length = np.random.default_rng(seed), mean_length
        self.state = policy.initial_state(B)
        self.age = np.zeros(B, np.int32)
        self.ended = np.zeros(B, bool)  # did the last row end an episode?
        self.window = [self.observe() for _ in range(self.k)]  # the last k frames, newest last

    def observe(self):
        space = self.policy.observation_space
        if space.dtype == np.uint8:
            return self.random.integers(0, 256, (self.B, *space.shape), dtype=np.uint8)
        return self.random.normal(size=(self.B, *space.shape)).astype(space.dtype)

    def stack(self):
        """[B, k, ...] oldest first, an episode's first frame repeated before it; or [B, ...]."""
        if self.k == 1:
            return self.window[-1].copy()
        stack = np.zeros((self.B, self.k, *self.window[0].shape[1:]), np.uint8)
        for b in range(self.B):
            for j in range(self.k):
                back = min(j, self.age[b])
                stack[b, self.k - 1 - j] = self.window[-1 - back][b]
        return stack

    def collect(self, T, explore=True):
        """One fragment's columns, [T, B] and [T+1, B]; the next one carries on from it."""
        rows = {name: [] for name in (c.ACTIONS, c.REWARDS, c.TERMINATEDS, c.TRUNCATEDS, c.VALID)}
        ages, observations, stacks, finals = [], list(self.window), [], {}
        for t in range(T):
            for part in self.state:
                part[self.age == 0] = 0
            if t == 0:
                finals = {c.state_in(i): part.copy() for i, part in enumerate(self.state)}
            stacks.append(self.stack())
            act = self.policy.act(stacks[-1], self.state, explore)
            self.state = tuple(np.array(part) for part in act.state)
            for name, value in {c.ACTIONS: act.actions, **act.extras}.items():
                rows.setdefault(name, []).append(np.array(value))
            valid = ~self.ended
            ends = valid & (self.random.random(self.B) < 1 / self.mean_length)
            terminated = ends & (self.random.random(self.B) < 0.5)
            rows[c.VALID].append(valid)
            rows[c.TERMINATEDS].append(terminated)
            rows[c.TRUNCATEDS].append(ends & ~terminated)
            rows[c.REWARDS].append(self.random.normal(size=self.B).astype(np.float32) * valid)
            ages.append(self.age.copy())
            self.age = np.where(valid, self.age + 1, 0).astype(np.int32)
            self.ended = ends
            self.window = [*self.window[1:], self.observe()]
            observations.append(self.window[-1])
        columns = {name: np.stack(values) for name, values in rows.items()}
        columns[c.AGE] = np.stack([*ages, self.age])
        name = c.OBS if self.k == 1 else c.FRAMES
        columns[name] = np.stack(observations)
        self.stacks = np.stack([*stacks, self.stack()])  # [T+1, B, ...], for the tests to compare
        return {**columns, **finals}
