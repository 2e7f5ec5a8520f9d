"""The learner that has no environment: its batches come from a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable

from actorrl.offline.reader import DatasetReader
from actorrl.roles.batch import ReusedMemory
from actorrl.roles.learner import Learner
from actorrl.roles.settings import LearnerSettings

MakeReader = Callable[[], DatasetReader]


class OfflineLearner(Learner):
    """One update per step while an iteration is open. `timesteps_total` counts rows learned from;
    rows of an epoch come again in the next."""

    def __init__(self, settings: LearnerSettings, make_reader: MakeReader) -> None:
        super().__init__(settings)
        self._make_reader = make_reader

    def on_start(self) -> None:
        self._reader = self._make_reader()  # one that is started again is told where it was
        super().on_start()
        self._memory = ReusedMemory(self.device)

    def has_work(self) -> bool:
        return self.learning

    def step(self) -> None:
        rows = self._reader.next()
        self.tally.count_experience(rows.count, [])
        memory = self._memory
        memory.restart()
        self.learn({name: memory.to_device(memory.keep(x)) for name, x in rows.items()})
        self.end_iteration_if_complete()

    def random_state(self) -> str:
        """Of the dataset's order, and how far it is."""
        return json.dumps(self._reader.state_dict())

    def set_random_state(self, state: str) -> None:
        self._reader.load_state_dict(json.loads(state))

    def counters(self) -> dict[str, float]:
        return {"num_epochs": self._reader.num_epochs}
