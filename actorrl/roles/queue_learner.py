"""The learner at the end of a stream of fragments (IMPALA): a batch is what has come next."""

from __future__ import annotations

from actorrl.data.fragment import Fragment
from actorrl.roles.stream_learner import StreamLearner
from actorrl.runtime.links import Item


class QueueLearner(StreamLearner):
    """Copies each fragment into the batch as it comes and gives the credit back at once."""

    def on_start(self) -> None:
        super().on_start()
        self._batch = self.settings.make_batch(self.device)
        self._num_resets = 0  # in the batch: rows between two episodes

    def on_samples(self, item: Item) -> None:
        self.receive(item)

    def take(self, item: Item) -> None:
        self.phases.lap("runtime")
        fragment = Fragment.from_message(item.body, item.arrays)
        self.tally.count_experience(fragment.num_env_steps, item.body["episodes"])
        if self.too_stale(fragment.policy_version):
            return
        self._batch.add(fragment.flat_columns(), fragment.num_env_steps)
        self._num_resets += fragment.num_resets
        self.phases.lap("gather")
        if self._is_full():
            item.release()  # the worker goes on while we learn
            self.learn(self._batch.tensors())
            self._batch.clear()
            self._num_resets = 0
            self.end_iteration_if_complete()

    def _is_full(self) -> bool:
        """Rows that are no decisions must not make a batch of ten fragments wait for an eleventh;
        nor may one without such rows be content with nine."""
        num_env_steps = self._batch.num_env_steps
        num_rows = num_env_steps + self._num_resets
        return num_env_steps > 0 and num_rows >= self.settings.train_batch_size
