"""Another library's learner in our topologies: what it must supply, and how the roles take it.

An evaluator is the "data plane" of an algorithm, in any framework or in none: it samples and
differentiates. Workers have one each, and the learner has one. N rows of a sample, P weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from actorrl.data import columns as c
from actorrl.data.allocate import Allocate
from actorrl.data.fragment import Episode, Fragment, single_group
from actorrl.errors import ConfigError
from actorrl.models.flat_parameters import Float32
from actorrl.roles.settings import Arrays, Body, Metrics, Postprocess, State, WorkerSettings

ByName = Mapping[str, np.ndarray]


class PolicyEvaluator(Protocol):
    """RLlib's interface of this name. Weights and gradients are arrays by name, of the same names
    and shapes; they travel as float32.

    Beside these, if it has them: `finished_episodes()`, the (return, length) of each episode that
    has ended since it was last called; `get_state()` and `set_state(state)`, arrays and numbers
    that a checkpoint must keep beside the weights (moments of an optimizer).
    """

    def sample(self) -> ByName:
        """The next experience as columns [N, ...]. For replay one column is `rewards`, and
        `priorities` [N], where given, are the first ones."""
        ...

    def compute_gradients(self, samples: ByName) -> tuple[ByName, Mapping[str, Any]]:
        """Gradients, and numbers worth watching. Samples of replay have `weights` [N], and the
        numbers may have `td_error` [N] (or `priorities`), the rows' new priorities."""
        ...

    def apply_gradients(self, gradients: ByName) -> None: ...

    def get_weights(self) -> ByName: ...

    def set_weights(self, weights: ByName) -> None: ...


MakeEvaluator = Callable[[int], PolicyEvaluator]  # worker's number from 1; 0 is the learner's


class EvaluatorPolicy:
    """Stands where a role has a policy: its weights as one vector, in the order of their names."""

    def __init__(self, evaluator: PolicyEvaluator) -> None:
        self.evaluator = evaluator
        self.version = 0
        self.timesteps = 0.0
        self.flat = self  # a learner loads `policy.flat`
        self._gradient: Float32 = np.zeros(0, np.float32)

    # ---- weights ------------------------------------------------------------------------

    def get_weights(self) -> dict[str, np.ndarray]:
        return {name: np.array(array) for name, array in self.evaluator.get_weights().items()}

    def set_weights(self, weights: ByName) -> None:
        self.evaluator.set_weights({**self.evaluator.get_weights(), **weights})

    def flat_weights(self) -> Float32:
        return _joined(self.evaluator.get_weights())

    weights_in_place = flat_weights

    def load(self, values: Float32) -> None:
        self.evaluator.set_weights(self._parts(values))

    def load_flat(self, values: Float32, version: int) -> None:
        self.load(values)
        self.version = version

    def set_flat_gradient(self, values: Float32) -> None:
        """Copied: the sender's memory is its own again after this."""
        self._gradient = np.array(values)

    def gradients(self) -> dict[str, np.ndarray]:
        """By name what `set_flat_gradient` was given."""
        return self._parts(self._gradient)

    def _parts(self, values: Float32) -> dict[str, np.ndarray]:
        like = self.evaluator.get_weights()
        ends = np.cumsum([like[name].size for name in sorted(like)])
        if len(values) != ends[-1]:
            raise ValueError(f"weights: {len(values)} values, expected {ends[-1]}")
        parts = np.split(np.asarray(values), ends[:-1])
        return {
            name: part.reshape(like[name].shape).astype(like[name].dtype)
            for name, part in zip(sorted(like), parts, strict=True)
        }

    # ---- what an evaluator keeps to itself ----------------------------------------------

    def note_observations(self, columns: Mapping[str, Any]) -> None:
        """There is no filter of ours."""

    def note_rows(self, rows: Mapping[str, Any]) -> None:
        """Likewise."""

    def filter_state(self) -> dict[str, Any]:
        return {}

    def load_filter_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""

    def random_state(self) -> str:
        return ""

    def set_random_state(self, state: str) -> None:
        """Nothing of ours is drawn."""


def _joined(arrays: ByName) -> Float32:
    """[P] float32, in the order of the names."""
    return np.concatenate([np.asarray(arrays[n], np.float32).ravel() for n in sorted(arrays)])


# ---- in a worker ----------------------------------------------------------------------------


def make_policy(make: MakeEvaluator, seed: int, env_indices: np.ndarray) -> EvaluatorPolicy:
    return EvaluatorPolicy(make(int(env_indices[0]) + 1))


class EvaluatorSource:
    """Stands where a worker has environments and a collector: it asks the evaluator."""

    num_envs = 1
    num_recreated = 0
    last_failure = ""

    def __init__(self, policy: EvaluatorPolicy, worker: int) -> None:
        self._policy = policy
        self._worker = worker
        self.num_steps_total = 0
        # an evaluator's own policy and environment are one to us: its sampling counts as the latter
        self.timers = {"env_s": 0.0, "policy_s": 0.0, "total_s": 0.0}

    def collect(self) -> Fragment:
        evaluator = self._policy.evaluator
        started = perf_counter()
        rows = {name: np.asarray(column) for name, column in evaluator.sample().items()}
        for name in ("env_s", "total_s"):
            self.timers[name] += perf_counter() - started
        count = len(next(iter(rows.values())))
        self.num_steps_total += count
        finished: list[tuple[float, int]] = getattr(evaluator, "finished_episodes", list)()
        episodes = [Episode(self._worker, float(r), int(length)) for r, length in finished]
        version = self._policy.version
        return Fragment(single_group(rows), count, version, episodes, self._worker)

    def close(self) -> None:
        close = getattr(self._policy.evaluator, "close", None)
        if close is not None:
            close()


def make_source(
    settings: WorkerSettings, worker: int, seed: int, policy: EvaluatorPolicy
) -> tuple[EvaluatorSource, EvaluatorSource]:
    source = EvaluatorSource(policy, worker)
    return source, source


def as_fragments(policy: EvaluatorPolicy, num_envs: int) -> Postprocess:
    """Samples as they are, for batches."""
    return lambda fragment: fragment.to_message()


def as_rows(policy: EvaluatorPolicy, num_envs: int) -> Postprocess:
    """Samples as they are, for replay."""

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        if c.REWARDS not in fragment.columns:
            raise ConfigError(
                f"sample(): no column '{c.REWARDS}' among {', '.join(fragment.columns)}, by which"
                " replay counts rows"
            )
        return fragment.to_message()[0], fragment.columns

    return postprocess


def compute_gradient(
    policy: EvaluatorPolicy, fragment: Fragment, timesteps: int, allocate: Allocate
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """A worker's own gradient [P] of its fragment, in memory of its own."""
    gradients, numbers = policy.evaluator.compute_gradients(fragment.columns)
    return _joined(gradients), _scalars(numbers)


# ---- in the learner -------------------------------------------------------------------------


class EvaluatorUpdate:
    """`passes` times over the batch, in minibatches of `minibatch_size` rows in random order; one
    step on all rows where there is no size. An empty batch: a step with a worker's gradient."""

    def __init__(
        self, make: MakeEvaluator, passes: int, minibatch_size: int | None, device: str
    ) -> None:
        self.policy = EvaluatorPolicy(make(0))
        self._passes = passes
        self._minibatch_size = minibatch_size
        self._random = np.random.default_rng(0)

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        if not batch:
            self.policy.evaluator.apply_gradients(self.policy.gradients())
            return {}
        samples = {name: tensor.cpu().numpy() for name, tensor in batch.items()}
        found: Mapping[str, Any] = {}
        for rows in self._minibatches(len(next(iter(samples.values())))):
            part = {name: column[rows] for name, column in samples.items()}
            gradients, found = self.policy.evaluator.compute_gradients(part)
            self.policy.evaluator.apply_gradients(gradients)
        if c.WEIGHTS not in samples:
            return _scalars(found)
        errors = found.get("td_error", np.ones(len(samples[c.WEIGHTS])))
        return {**_scalars(found), c.PRIORITIES: found.get(c.PRIORITIES, np.abs(errors))}

    def _minibatches(self, count: int) -> Sequence[np.ndarray]:
        if self._minibatch_size is None:
            return [np.arange(count)] * self._passes
        cuts = range(self._minibatch_size, count, self._minibatch_size)
        orders = [self._random.permutation(count) for _ in range(self._passes)]
        return [rows for order in orders for rows in np.split(order, cuts)]

    def state_dict(self) -> State:
        get_state = getattr(self.policy.evaluator, "get_state", None)
        return {"evaluator": get_state()} if get_state is not None else {}

    def load_state_dict(self, state: State) -> None:
        if "evaluator" in state:
            self.policy.evaluator.set_state(state["evaluator"])  # type: ignore[attr-defined]


def _scalars(numbers: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if np.ndim(value) == 0}
