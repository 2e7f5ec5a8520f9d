"""The learner of synchronous sampling (A2C): a batch is made of whole rounds, side by side."""

from __future__ import annotations

from actorrl.data.fragment import Fragment
from actorrl.roles.round_learner import RoundLearner
from actorrl.runtime.links import Item


class SynchronousLearner(RoundLearner):
    """One iteration is one train batch of at least `train_batch_size` valid env steps."""

    def on_start(self) -> None:
        super().on_start()
        self._batch = self.settings.make_batch(self.device)

    def take_round(self, items: list[Item]) -> None:
        for item in items:
            fragment = Fragment.from_message(item.body, item.arrays)
            self.tally.count_experience(fragment.num_env_steps, item.body["episodes"])
            self.too_stale(fragment.policy_version)
            self._batch.add(fragment.flat_columns(), fragment.num_env_steps)
            item.release()
        if self._batch.num_env_steps >= self.settings.train_batch_size:
            self.learn(self._batch.tensors())
            self._batch.clear()
            self.end_iteration_if_complete()
