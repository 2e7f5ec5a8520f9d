"""The learner of Ape-X: asks shards for batches in proportion to their mass, sends priorities back.

A few requests are always open, so that the next batches are gathered while it learns. Sampling
probabilities are global: a shard is asked in proportion to its last reported mass, and importance
weights divide by the one largest weight over all shards.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable

import numpy as np

from actorrl import copies
from actorrl.data import columns as c
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.replay.prioritized import PROBABILITIES
from actorrl.replay.weights import Mass, combine, importance_weights
from actorrl.roles.batch import ReusedMemory
from actorrl.roles.learner import Learner
from actorrl.roles.settings import Body, LearnerSettings
from actorrl.runtime.links import Item


class ReplayLearner(Learner):
    """See the module. The update returns the new priorities under the name "priorities" [N]."""

    def __init__(
        self, settings: LearnerSettings, beta: PiecewiseSchedule, prefetch: int, seed: int
    ) -> None:
        """`beta`, the exponent of importance weights, is over the run's env steps."""
        super().__init__(settings)
        self._beta = beta
        self._prefetch = prefetch
        self._seed = seed

    def on_start(self) -> None:
        self._random = np.random.default_rng(self._seed)
        super().on_start()
        self._memory = ReusedMemory(self.device)
        self._requests = self.context.requests("replay")
        self._shards: dict[str, Body] = {}
        self._masses: dict[str, Mass] = {}
        self._ready: collections.deque[Item] = collections.deque()

    # ---- what shards report -------------------------------------------------------------

    def on_inserts(self, item: Item) -> None:
        body = item.body
        self.tally.count_experience(body["num_env_steps"], body["episodes"])
        if item.arrays:
            self.update.policy.merge_observations(item.arrays)
        self._shards[item.source] = body
        self._masses[item.source] = Mass(*body["mass"])
        self._ask()

    # ---- batches ------------------------------------------------------------------------

    def _ask(self) -> None:
        """Keep `prefetch` batches being gathered or waiting. Before any shard has rows, ask them at
        random: they answer once they have enough."""
        while self.learning and self._num_in_flight() < self._prefetch:
            able = [shard for shard in self._requests.targets if self._requests.can_ask(shard)]
            if not able:
                return
            masses = np.array([self._mass_of(shard) for shard in able])
            if not masses.any():
                masses = np.ones(len(able))
            shard = able[self._random.choice(len(able), p=masses / masses.sum())]
            if not self._requests.ask(shard, {"num_samples": self.settings.train_batch_size}):
                return

    def _num_in_flight(self) -> int:
        """Requests not answered, and answers not learned from, of the shards that live."""
        return sum(self._requests.in_flight(shard) for shard in self._requests.targets)

    def _mass_of(self, shard: str) -> float:
        known = self._masses.get(shard)
        return known.total if known is not None else 0.0

    def on_replay(self, item: Item) -> None:
        item.hold()
        self._ready.append(item)  # at most `prefetch`
        self.context.post(self._learn_ready)

    def _learn_ready(self) -> None:
        while self.learning and self._ready:
            self._learn_from(self._ready.popleft())

    def resume(self) -> None:
        self._ask()
        self._learn_ready()

    def lost_replay(self, shard: str, num_lost: int) -> None:
        """A shard died, or is back empty."""
        self._masses.pop(shard, None)
        self._shards.pop(shard, None)
        self._ask()

    def _learn_from(self, item: Item) -> None:
        shard_mass = item.body["mass"]
        arrays = item.arrays
        self.phases.lap("runtime")
        everything = combine(
            [m for shard, m in self._masses.items() if shard != item.source]
            + [self._newest_mass(item.source, shard_mass)]
        )
        beta = self._beta(self.tally.timesteps_total)
        weights = importance_weights(arrays[PROBABILITIES], shard_mass, everything, beta)
        indices = arrays[c.INDICES].copy()
        memory = self._memory
        memory.restart()
        batch = {
            name: memory.to_device(memory.keep(array))
            for name, array in arrays.items()
            if name not in (PROBABILITIES, c.INDICES)
        }
        batch[c.WEIGHTS] = memory.to_device(memory.keep(weights))
        if copies.COUNTING:
            copies.note_all("batch", arrays)
        source = item.source
        item.release()
        self.phases.lap("gather")
        self._ask()  # the next batch is gathered while we learn
        self.phases.lap("runtime")
        # A copy: they may be a view of the batch, whose memory the next one takes.
        priorities = np.array(self.learn(batch)[c.PRIORITIES], np.float32)
        self.context.stream("priorities").send(
            None, {c.INDICES: indices, c.PRIORITIES: priorities}, to=source
        )
        self.end_iteration_if_complete()

    def _newest_mass(self, shard: str, total: float) -> Mass:
        known = self._masses.get(shard)
        return known._replace(total=total) if known is not None else Mass(total, 1)

    def random_state(self) -> str:
        return json.dumps(self._random.bit_generator.state)

    def set_random_state(self, state: str) -> None:
        self._random.bit_generator.state = json.loads(state)

    def counters(self) -> dict[str, float]:
        """Totals over the shards as they last reported."""
        shards = self._shards.values()
        inserted = sum(max(0, s["num_inserted"] - s["min_size"]) for s in shards)
        sampled = sum(s["num_sampled"] for s in shards)
        return {
            "replay_size": sum(s["size"] for s in shards),
            "replay_nbytes": sum(s["nbytes"] for s in shards),
            "num_dropped_priorities": sum(s["num_dropped_priorities"] for s in shards)
            + self.context.stream("priorities").dropped,
            "samples_per_insert": sampled / inserted if inserted else float("nan"),
            "cur_beta": self._beta(self.tally.timesteps_total),
            **_summed(shard["cpu"] for shard in shards),
        }

    def copies_counted(self) -> copies.Totals:
        """The shards' too, as they last reported."""
        return copies.merged([copies.totals(), *(s["copies"] for s in self._shards.values())])


def _summed(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    """Of several shards' CPU seconds the sums, as `shards_NAME`."""
    total: dict[str, float] = collections.defaultdict(float)
    for part in parts:
        for name, seconds in part.items():
            total[f"shards_{name}"] += seconds
    return total
