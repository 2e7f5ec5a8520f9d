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

    def on_samples(self, item: Item) -> None:
        self.receive(item)

    def take(self, item: Item) -> None:
        self.phases.lap("runtime")
        fragment = Fragment.from_message(item.body, item.arrays)
        self.tally.count_experience(fragment.num_env_steps, item.body["episodes"])
        if self.too_stale(fragment.policy_version):
            return
        self._batch.add(fragment.flat_columns(), fragment.num_env_steps)
        self.phases.lap("gather")
        if self._batch.num_env_steps >= self.settings.train_batch_size * _NEARLY:
            item.release()  # the worker goes on while we learn
            self.learn(self._batch.tensors())
            self._batch.clear()
            self.end_iteration_if_complete()


# Rows that are no decisions (about one per episode) must not make a batch of 10 fragments wait for
# an eleventh.
_NEARLY = 0.9
