"""What the learners share that ask all workers and wait for all: rounds of one share per worker.

The answers of a round are taken in the order of the workers, whoever answers first, and no round
is taken outside an iteration, so that a run is the same every time. A worker that dies leaves its
share to the others: the next one that is free is asked for it.
"""

from __future__ import annotations

from actorrl.roles.learner import Learner
from actorrl.roles.settings import Body
from actorrl.runtime.links import Item


class RoundLearner(Learner):
    """Base of the learners at the asking end of link `samples`; they define `take_round`."""

    def on_start(self) -> None:
        super().on_start()
        self._requests = self.context.requests("samples")
        self._wanted: list[int] = []  # shares of this round that nobody was asked for yet
        self._asked: dict[str, list[int]] = {target: [] for target in self._requests.targets}
        self._answers: dict[int, Item] = {}

    def take_round(self, items: list[Item]) -> None:
        """Learn from the answers of a round, one per worker, in their order; release each."""
        raise NotImplementedError

    def request_body(self, share: int) -> Body:
        """What a worker is asked for, with weights no older than these. `timesteps`: on which
        schedules of exploration run."""
        weights = self.weights
        newest = {"epoch": weights.epoch, "min_version": weights.version}
        return {**newest, "timesteps": self.tally.timesteps_total}

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
                if self._requests.ask(target, self.request_body(share)):
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
        if self.iteration is None or not self.can_learn():
            return
        if len(self._answers) < len(self._requests.targets):
            return
        items = [self._answers[share] for share in sorted(self._answers)]
        self._answers.clear()
        self.take_round(items)
        if self.learning:
            self._begin_round()
