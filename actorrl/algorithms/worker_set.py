"""`algo.workers`: functions that run inside the rollout workers, and the driver's own copy."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle

from actorrl.data.sample_batch import MultiAgentBatch, SampleBatch
from actorrl.errors import ConfigError
from actorrl.roles.worker_view import WorkerView
from actorrl.runtime.refs import ActorRef

TIMEOUT_S = 60.0


class WorkerSet:
    """RLlib's names. Lists start with the driver's own copy (index 0), then go in worker order."""

    def __init__(self, workers: list[ActorRef], local: WorkerView) -> None:
        self._workers = workers
        self._local = local
        if workers:
            local.sample_by(self._sample_first)

    def _sample_first(self) -> SampleBatch | MultiAgentBatch:
        """The next fragment of the first worker."""
        first = self._workers[0].apply.within(TIMEOUT_S)
        parts = first.call(_shipped(_sampled), 1).result()
        batches = {name: SampleBatch(rows) for name, rows in parts["of"].items()}
        return MultiAgentBatch.wrap_as_needed(batches, parts["count"])

    def foreach_worker(
        self, func: Callable[[Any], Any], local_worker: bool = True, timeout_s: float = TIMEOUT_S
    ) -> list[Any]:
        """What `func(worker)` returned in each process: numbers, text, lists, dicts, tuples and
        arrays, else an error that names the type. Works between two `train()` as well as during an
        asynchronous run. Raises CallError naming the worker."""
        return self.foreach_worker_with_index(_without_index(func), local_worker, timeout_s)

    def foreach_worker_with_index(
        self,
        func: Callable[[Any, int], Any],
        local_worker: bool = True,
        timeout_s: float = TIMEOUT_S,
    ) -> list[Any]:
        """The same with `func(worker, index)`."""
        shipped = _shipped(func)
        asked = [
            worker.apply.within(timeout_s).call(shipped, index)
            for index, worker in enumerate(self._workers, 1)
        ]
        own = [func(self._local, 0)] if local_worker else []
        return own + [future.result() for future in asked]

    def foreach_policy(self, func: Callable[..., Any]) -> list[Any]:
        """What `func(policy, policy_id)` returned for each policy of each process."""
        each = self.foreach_worker(functools.partial(_of_policies, func))
        return [found for of_worker in each for found in of_worker]

    def foreach_env(self, func: Callable[[Any], Any]) -> list[list[Any]]:
        """What `func(env)` returned for each environment, by worker; the driver's copy has none."""
        return self.foreach_worker(functools.partial(_of_envs, func))

    foreach_evaluator = foreach_worker
    foreach_evaluator_with_index = foreach_worker_with_index

    def local_worker(self) -> WorkerView:
        """The driver's copy: its policy's weights are the learner's newest, and writing them
        reaches the learner and with it all workers."""
        return self._local

    def remote_workers(self) -> list[ActorRef]:
        return list(self._workers)

    def num_remote_workers(self) -> int:
        return len(self._workers)

    def sync_weights(self) -> None:
        """Nothing to do: workers load the newest weights before each fragment and each function."""


class _without_index:
    """A class and not a closure: it is found by name where it is unpickled."""

    def __init__(self, func: Callable[[Any], Any]) -> None:
        self._func = func

    def __call__(self, worker: Any, index: int) -> Any:
        return self._func(worker)


def _sampled(worker: Any, index: int) -> dict[str, Any]:
    """A worker's sample, by policy."""
    whole = worker.sample().as_multi_agent()
    return {"count": whole.count, "of": whole.policy_batches}


def _of_policies(func: Callable[..., Any], worker: Any) -> list[Any]:
    found: list[Any] = worker.foreach_policy(func)
    return found


def _of_envs(func: Callable[[Any], Any], worker: Any) -> list[Any]:
    found: list[Any] = worker.foreach_env(func)
    return found


def _shipped(func: Callable[..., Any]) -> bytes:
    try:
        data: bytes = cloudpickle.dumps(func)
        return data
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise ConfigError(
            f"{getattr(func, '__name__', func)}: this function cannot be sent to the workers"
            f" ({error}), expected one that holds no lock, file or process"
        ) from None
