"""Has a part become slower? CPU seconds as ratios to a fixed reference loop in the same run.

Each workload is single-threaded and deterministic; a ratio of CPU times to plain NumPy and Python
work holds on noisy machines where seconds do not. Compared with `results/guard_baseline.json`:

    scripts/bench --guard            fails above 1.25 times the baseline
    python -m benchmarks.guard --accept   writes a new one
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

_BASELINE = Path(__file__).parent / "results" / "guard_baseline.json"
_ROUNDS = 7
_TOLERANCE = 1.25

Work = Callable[[], None]


def _reference() -> Work:
    """Python and small NumPy calls, as the parts that it stands beside."""
    array = np.zeros((64, 64), np.float32)
    source = np.ones((64, 64), np.float32)

    def work() -> None:
        total = 0
        for number in range(20_000):
            total += number % 7
        for _ in range(2_000):
            np.add(array, source, out=array)

    return work


def _codec() -> Work:
    from actorrl.wire import frames
    from actorrl.wire.messages import Kind, Message

    arrays = {"rewards": np.zeros(160, np.float32), "obs": np.zeros((20, 8, 4), np.float32)}

    def work() -> None:
        for _ in range(300):
            parts = frames.encode(Message(Kind.ITEM, "samples", {"version": 1}, arrays))
            frames.decode([memoryview(part).cast("B") for part in parts])

    return work


def _replay() -> Work:
    from actorrl.data.columns import ACTIONS, INDICES, OBS
    from actorrl.replay.prioritized import PrioritizedReplay

    rng = np.random.default_rng(0)
    replay = PrioritizedReplay(20_000, seed=0)
    rows = {OBS: rng.normal(size=(64, 4)).astype(np.float32), ACTIONS: np.zeros(64, np.int64)}
    for _ in range(100):
        replay.add(rows, rng.random(64))

    def work() -> None:
        for _ in range(20):
            replay.add(rows, rng.random(64))
            batch = replay.sample(512)
            replay.update_priorities(batch[INDICES], rng.random(512))

    return work


def _collector() -> Work:
    import torch

    from actorrl.algorithms.impala import IMPALAConfig, make_policy
    from actorrl.envs.check import check_env
    from actorrl.envs.vector import make_vector
    from actorrl.rollouts.collector import Collector

    torch.set_num_threads(1)
    info = check_env("CartPole-v1", {})
    policy = make_policy(IMPALAConfig(), info, 1, np.arange(8))
    vector = make_vector(info.env, {}, 8, worker_index=0, num_workers=1, seed=1)
    collector = Collector(vector, policy, 32, first_env_index=0)

    def work() -> None:
        for _ in range(5):
            collector.collect()

    return work


def _update() -> Work:
    import torch

    from actorrl.algorithms.impala import IMPALAConfig, IMPALAUpdate, make_policy
    from actorrl.envs.check import check_env
    from actorrl.envs.vector import make_vector
    from actorrl.rollouts.collector import Collector

    torch.set_num_threads(1)
    info = check_env("CartPole-v1", {})
    config = IMPALAConfig()
    vector = make_vector(info.env, {}, 8, worker_index=0, num_workers=1, seed=1)
    collector = Collector(vector, make_policy(config, info, 1, np.arange(8)), 64, first_env_index=0)
    columns = collector.collect().columns
    batch = {name: torch.from_numpy(np.array(array)) for name, array in columns.items()}
    update = IMPALAUpdate(config, info, 1, "cpu")

    def work() -> None:
        for timesteps in range(10):
            update(batch, timesteps)

    return work


def _stream() -> Work:
    from actorrl.runtime.cluster import Cluster
    from actorrl.runtime.examples.stream import two_to_one

    cluster = Cluster(two_to_one(), launcher="inproc")
    cluster.start()

    def work() -> None:
        for _ in range(100):
            cluster.poll()

    return work


_PARTS: dict[str, Callable[[], Work]] = {
    "codec": _codec,
    "replay": _replay,
    "collector": _collector,
    "update": _update,
    "stream": _stream,
}


def measure() -> dict[str, float]:
    """Part -> median ratio of its CPU time to the reference's, taken in turn."""
    reference = _reference()
    ratios = {}
    for name, make in _PARTS.items():
        work = make()
        _cpu_s(work)
        ratios[name] = statistics.median(_cpu_s(work) / _cpu_s(reference) for _ in range(_ROUNDS))
    return ratios


def _cpu_s(work: Work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main(arguments: list[str]) -> int:
    found = measure()
    if "--accept" in arguments:
        _BASELINE.write_text(json.dumps(found, indent=1) + "\n")
        print(f"accepted: {found}")
        return 0
    baseline = json.loads(_BASELINE.read_text())
    slower = []
    for name, ratio in found.items():
        change = ratio / baseline[name]
        print(f"{name:<12} {ratio:8.3f}  {change:6.2f} of the baseline")
        if change > _TOLERANCE:
            slower.append(name)
    if slower:
        print(f"slower than {_TOLERANCE} times the baseline: {', '.join(slower)}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
