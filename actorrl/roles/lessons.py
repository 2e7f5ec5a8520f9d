"""What a learner learns outside its iterations: a batch that the driver has made (see
algorithms/teaching.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from actorrl.data.columns import PRIORITIES
from actorrl.policies.policy_map import SEPARATOR
from actorrl.roles.settings import Arrays, Metrics
from actorrl.runtime.actor import Actor, remote

if TYPE_CHECKING:
    from torch import Tensor


class Lessons(Actor):
    """Base of Learner, which has these."""

    device: str
    learn: Callable[[dict[str, Tensor]], Metrics]
    _publish: Callable[[], None]
    _check_restored: Callable[[], None]

    @remote
    def learn_on_batch(self, columns: Arrays) -> dict[str, float]:
        """One update, published at once; its metrics. No env step is counted."""
        self._check_restored()
        metrics = self.teach(columns)
        self._publish()
        scalars = {n: x for n, x in metrics.items() if n.rpartition(SEPARATOR)[2] != PRIORITIES}
        return {name: float(x) for name, x in scalars.items()}

    def teach(self, columns: Arrays) -> Metrics:
        """The update of a batch as workers send it."""
        return self.learn(
            {name: torch.from_numpy(np.array(x)).to(self.device) for name, x in columns.items()}
        )
