"""The learner of ES and ARS: rounds of mirrored pairs, one update each.

The seeds of a share follow from run, round and share alone. So when a worker dies, another one
plays the same pairs, both halves of each: no pair is ever counted by half.
"""

from __future__ import annotations

import numpy as np
import torch

from actorrl.roles.round_learner import RoundLearner
from actorrl.roles.settings import Body, LearnerSettings
from actorrl.runtime.links import Item


class EvolutionLearner(RoundLearner):
    """See the module. `train_batch_size` is the number of pairs of a round."""

    def __init__(self, settings: LearnerSettings, seed: int) -> None:
        super().__init__(settings)
        self._seed = seed

    def request_body(self, share: int) -> Body:
        num_shares = len(self._requests.targets)
        count = len(range(share, self.settings.train_batch_size, num_shares))
        # Rounds count updates, which a checkpoint keeps: no seed comes twice in a run.
        sequence = np.random.SeedSequence([self._seed, self.tally.num_updates, share])
        seeds = [int(s) for s in sequence.generate_state(count)]
        return {**super().request_body(share), "seeds": seeds}

    def take_round(self, items: list[Item]) -> None:
        """One update from all answers side by side, in the order of the workers."""
        for item in items:
            self.tally.count_experience(item.body["num_env_steps"], item.body["episodes"])
            self.too_stale(item.body["policy_version"])
        names = items[0].arrays
        batch = {
            name: torch.from_numpy(np.concatenate([item.arrays[name] for item in items]))
            for name in names
        }
        for item in items:
            item.release()
        self.learn(batch)
        self.end_iteration_if_complete()
