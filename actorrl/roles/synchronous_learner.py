"""The learner that asks all workers and waits for all (A2C): rounds of one fragment each.

Fragments are put into the batch in the order of the workers, whoever answers first, and no update
is made outside an iteration, so that a run is the same every time. A worker that dies leaves its
share to the others: the next one that is free is asked for it.
"""

from __future__ import annotations

from actorrl.data.fragment import Fragment
from actorrl.roles.batch import FragmentBatch
from actorrl.roles.learner import Learner
from actorrl.runtime.links import Item


class SynchronousLearner(Learner):
    """One iteration is one train batch of at least `train_batch_size` valid env steps."""

    def on_start(self) -> None:
        super().on_start()
        self._batch = FragmentBatch(self.device)
        self._requests = self.context.requests("samples")
        self._wanted: list[int] = []  # shares of this round that nobody was asked for yet
        self._asked: dict[str, list[int]] = {target: [] for target in self._requests.targets}
        self._answers: dict[int, Item] = {}

    def resume(self) -> None:
        if not self._wanted and not self._answers and not any(self._asked.values()):
            self._begin_round()
        self._end_round_if_complete()

    def _begin_round(self) -> None:
        self._wanted = list(range(len(self._requests.targets)))
        self._ask()

    def _ask(self) -> None:
        """Each share goes to its own worker; that of one that is down to any that is free."""
        targets = self._requests.targets
        for share in list(self._wanted):
            own = targets[share]
            others = [t for t in self._requests.up() if not self._requests.can_ask(own)]
            for target in (own, *others):
                if self._requests.ask(target, {"min_version": self.version}):
                    self._wanted.remove(share)
                    self._asked[target].append(share)
                    break

    def on_samples(self, item: Item) -> None:
        share = self._asked[item.source].pop(0)
        item.hold()
        self._answers[share] = item
        if self._wanted:
            self._ask()
        self._end_round_if_complete()

    def lost_samples(self, target: str, num_lost: int) -> None:
        """A worker died (its shares are wanted again), or one is back."""
        if num_lost:
            self._wanted += self._asked[target]
            self._asked[target] = []
        if self._wanted:
            self._ask()

    def _end_round_if_complete(self) -> None:
        """Between two iterations the round waits: the next one counts it and learns from it."""
        if self.iteration is not None and len(self._answers) == len(self._requests.targets):
            self._end_round()

    def _end_round(self) -> None:
        for share in sorted(self._answers):
            item = self._answers[share]
            fragment = Fragment.from_message(item.body, item.arrays)
            self.count_fragment(fragment.num_env_steps, item.body["episodes"])
            self.too_stale(fragment.policy_version)
            self._batch.add(fragment.columns, fragment.num_env_steps)
            item.release()
        self._answers.clear()
        if self._batch.num_env_steps >= self.settings.train_batch_size:
            self.learn(self._batch.tensors())
            self._batch.clear()
            self.end_iteration_if_complete()
        if self.learning:
            self._begin_round()
