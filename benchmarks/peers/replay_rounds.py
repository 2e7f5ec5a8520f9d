"""A round of prioritized replay, or a part of it, as the question `replay` asks it, for cpprb and
for RLlib 2.6.3."""

import json
import sys
import time

import numpy as np

CAPACITY, FILLED, BATCH, CHUNK, WINDOW_S = 1_000_000, 100_000, 512, 64, 2.0


def rows(rng):
    return {
        "obs": rng.normal(size=(CHUNK, 4)).astype(np.float32),
        "new_obs": rng.normal(size=(CHUNK, 4)).astype(np.float32),
        "actions": rng.integers(2, size=CHUNK),
        "rewards": np.ones(CHUNK, np.float32),
        "discounts": np.full(CHUNK, 0.97, np.float32),
    }


class Cpprb:
    def __init__(self):
        import cpprb

        shapes = {"obs": 4, "new_obs": 4, "actions": 1, "rewards": 1, "discounts": 1}
        self.buffer = cpprb.PrioritizedReplayBuffer(
            CAPACITY, {name: {"shape": size} for name, size in shapes.items()}, alpha=0.6
        )

    def add(self, chunk, priorities):
        self.buffer.add(**chunk, priorities=priorities)

    def sample(self):
        return self.buffer.sample(BATCH, beta=0.4)["indexes"]

    def update(self, indices, priorities):
        self.buffer.update_priorities(indices, priorities)


class RLlib:
    def __init__(self):
        from ray.rllib.policy.sample_batch import SampleBatch
        from ray.rllib.utils.replay_buffers import PrioritizedReplayBuffer

        self.batch = SampleBatch
        self.buffer = PrioritizedReplayBuffer(capacity=CAPACITY, alpha=0.6)

    def add(self, chunk, priorities):
        self.buffer.add(self.batch({**chunk, "weights": priorities}))

    def sample(self):
        return self.buffer.sample(BATCH, beta=0.4)["batch_indexes"]

    def update(self, indices, priorities):
        self.buffer.update_priorities(indices, priorities)


def window(part, side, chunk, rng):
    indices = side.sample()
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < WINDOW_S:
        if part in ("round", "insert"):
            for _ in range(BATCH // CHUNK):
                side.add(chunk, rng.random(CHUNK) + 0.01)
        if part in ("round", "sample"):
            indices = side.sample()
        if part in ("round", "update"):
            side.update(indices, rng.random(BATCH) + 0.01)
        done += BATCH
    return {"value": done / (time.perf_counter() - started)}


def main():
    rng = np.random.default_rng(0)
    chunk = rows(rng)
    side = None
    for line in sys.stdin:
        name, part = line.split()
        if side is None:
            side = {"cpprb": Cpprb, "ray263": RLlib}[name]()
            for _ in range(FILLED // CHUNK):
                side.add(chunk, rng.random(CHUNK) + 0.01)
        print(json.dumps(window(part, side, chunk, rng)), flush=True)


if __name__ == "__main__":
    main()
