"""The driver's copy of the policy: reads pull the newest weights, writes go to the learner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from actorrl.data.columns import DEFAULT_POLICY
from actorrl.policies.policy_map import SEPARATOR

if TYPE_CHECKING:
    from actorrl.algorithms.gradients import Gradients


class PolicyMirror:
    """What `algo.get_policy()` returns. Everything else of `Policy` is passed on."""

    def __init__(
        self,
        policy: Any,  # a Policy, or a PolicyMap
        newest: Callable[[], Any],
        write: Callable[[Mapping[str, np.ndarray]], None],
        teach: Callable[[str, Any, Mapping[str, Any]], dict[str, Any]],
        gradients: Gradients,
    ) -> None:
        """`newest()` is the reading end of the weights' state, None while no learner has started:
        then `policy` has the newest. `write` sends weights by name; `teach` is the run's Teaching.
        """
        self.gradients = gradients
        self._policy = policy
        self._newest = newest
        self._write = write
        self._teach = teach
        self._epoch = 0  # of the weights that were read last

    def refresh(self) -> Any:
        """The policy with the newest published weights."""
        newest = self._newest()
        if newest is not None:
            epoch = newest.epoch  # 0 while nothing is there; those of a new one are newer
            if newest.version > self._policy.version or epoch not in (0, self._epoch):
                version, arrays = newest.read()
                self._policy.load_flat(arrays["flat"], version)
                self._epoch = epoch
        return self._policy

    def begin_with(self, flat: np.ndarray) -> None:
        """The weights [P] of a checkpoint, which the learner publishes when it goes on from it."""
        self._policy.load_flat(flat, self._policy.version)

    def get_weights(self) -> dict[str, np.ndarray]:
        return self.refresh().get_weights()

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """The learner has them before its next update, workers after their present fragment."""
        self._policy.set_weights(weights)  # refuses what does not fit, here and now
        self._write(weights)
        self.refresh()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """As `set_weights`; the inverse of `get_state`."""
        self.set_weights(state["weights"])

    def learn_on_batch(self, samples: Mapping[str, Any]) -> dict[str, Any]:
        """RLlib's: one update by the run's learner with a SampleBatch, or columns in a dict; its
        metrics. Whoever reads weights next has those after it. The rows are `obs`, `actions` (as
        they are stored), `rewards`, `terminateds` or `dones`, `new_obs`; where there is no replay
        in the order of time, with `eps_id` or `t` where there is more than one episode. Raises
        ConfigError for samples that cannot be learned from, RunFailed where a loss is NaN."""
        return self.teach(DEFAULT_POLICY, samples)

    def teach(self, policy_id: str, samples: Mapping[str, Any]) -> dict[str, Any]:
        metrics = self._teach(policy_id, self.refresh(), samples)
        self.refresh()
        return metrics

    def compute_gradients(
        self, samples: Mapping[str, Any]
    ) -> tuple[list[np.ndarray], dict[str, float]]:
        """RLlib's: the gradient [P] that `learn_on_batch` would step along (of all rows at once),
        in a list, and its numbers. Raises the same."""
        return self.gradients.compute(DEFAULT_POLICY, self.refresh(), samples)

    def apply_gradients(self, gradients: Sequence[np.ndarray]) -> None:
        """RLlib's: one step of the run's learner with what `compute_gradients` has returned."""
        self.gradients.apply(DEFAULT_POLICY, self.refresh(), gradients)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.refresh(), name)


class PolicyPart:
    """What `algo.get_policy(id)` returns of a run with several policies."""

    def __init__(self, whole: PolicyMirror, policy_id: str) -> None:
        self._whole = whole
        self._id = policy_id

    def get_weights(self) -> dict[str, np.ndarray]:
        weights: dict[str, np.ndarray] = self._policy().get_weights()
        return weights

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """As PolicyMirror's; the other policies stay as they are."""
        self._whole.set_weights(
            {f"{self._id}{SEPARATOR}{name}": array for name, array in weights.items()}
        )

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.set_weights(state["weights"])

    def learn_on_batch(self, samples: Mapping[str, Any]) -> dict[str, Any]:
        """As PolicyMirror's, of this policy alone."""
        return self._whole.teach(self._id, samples)

    def compute_gradients(
        self, samples: Mapping[str, Any]
    ) -> tuple[list[np.ndarray], dict[str, float]]:
        return self._whole.gradients.compute(self._id, self._whole.refresh(), samples)

    def apply_gradients(self, gradients: Sequence[np.ndarray]) -> None:
        self._whole.gradients.apply(self._id, self._whole.refresh(), gradients)

    def _policy(self) -> Any:
        return self._whole.refresh()[self._id]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy(), name)
