"""`compute_gradients` and `apply_gradients` of a run's policies, as RLlib's evaluators have them.

P parameters of one policy. A gradient is the one that `learn_on_batch` would step along, of all
rows at once: the driver has an update of its own, loads the learner's state into it, and reads off
what its optimizers were given. Applied, the learner's optimizers step along it, and nothing else of
an update happens: no target network moves, no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actorrl.algorithms import planning
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.setup import Setup
from actorrl.algorithms.teaching import Teaching
from actorrl.envs.check import EnvInfo
from actorrl.errors import ConfigError
from actorrl.models.flat_parameters import Float32
from actorrl.policies.policy_map import SEPARATOR, PolicyMap
from actorrl.roles.iteration import scalars
from actorrl.roles.partners import load
from actorrl.roles.settings import Update

if TYPE_CHECKING:
    from actorrl.algorithms.base import Algorithm
    from actorrl.algorithms.run import Run

_AT_ONCE = {"num_sgd_iter": 1, "sgd_minibatch_size": 2**40, "callbacks_class": None}


class Gradients:
    """Of a run. `newest`: the Policy, or PolicyMap of several, with the learner's weights."""

    def __init__(
        self,
        algorithm: type[Algorithm],
        config: AlgorithmConfig,
        info: EnvInfo,
        run: Run,
        teaching: Teaching,
    ) -> None:
        self._algorithm = algorithm
        self._config = config
        self._info = info
        self._run = run
        self._teaching = teaching
        self._update: Update | None = None

    def compute(
        self, policy_id: str, newest: Any, samples: Mapping[str, Any]
    ) -> tuple[list[Float32], dict[str, float]]:
        """The gradient [P] of a policy's loss, in a list as RLlib's, and its numbers. Raises
        ConfigError as `learn_on_batch` does."""
        columns = self._teaching.columns_of(policy_id, newest, samples)
        if "gradient" in columns:  # what a worker of A3C sends
            whole = columns["gradient"]
            return [newest.split(whole)[policy_id] if _several(newest) else whole], {}
        state = self._run.learner_state()
        update = self._update = self._update or self._own_update()
        load(update, state)
        batch = {name: torch.from_numpy(np.array(column)) for name, column in columns.items()}
        policy: Any = update.policy
        policy = policy[policy_id] if _several(newest) else policy
        policy.flat.zero_gradient()  # an update may leave out a part (TD3's actor)
        metrics = scalars(update(batch, int(state["timesteps_total"])))
        stats = {name.rpartition(SEPARATOR)[2]: x for name, x in metrics.items()}
        return [policy.flat_gradient()], stats

    def apply(self, policy_id: str, newest: Any, gradients: Sequence[Float32]) -> None:
        """One step of the learner's, published at once. Raises ConfigError, with nothing changed,
        for a gradient of another size, or that is not finite."""
        policy = newest[policy_id] if _several(newest) else newest
        size = policy.flat.vector.numel()
        if len(gradients) != 1 or np.shape(gradients[0]) != (size,):
            shapes = [np.shape(gradient) for gradient in gradients]
            raise ConfigError(
                f"apply_gradients: arrays of shapes {shapes}, expected what compute_gradients"
                f" returns: one of ({size},)"
            )
        whole = np.asarray(gradients[0], np.float32)
        if not np.isfinite(whole).all():
            raise ConfigError("apply_gradients: there is NaN or infinity in them, expected numbers")
        if _several(newest):
            parts = newest.split(np.zeros_like(newest.flat_weights()))
            whole = np.concatenate(list({**parts, policy_id: whole}.values()))
        self._run.apply_gradients(whole)

    def _own_update(self) -> Update:
        """The learner's, on the driver, with one step for all rows."""
        config = self._config.copy()
        for name, value in _AT_ONCE.items():
            if hasattr(type(config), name):
                config.put(name, value)
        setup = Setup(self._info, 0, lambda: None)
        program = planning.program_of(self._algorithm, config, setup)
        update: Update = program.nodes["learner/0"].args[0].make_update("cpu")
        return update


def _several(newest: Any) -> bool:
    return isinstance(newest, PolicyMap)
