"""What the roles are told: plain values, and the functions that an algorithm file supplies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from actorrl.data.fragment import Fragment
from actorrl.envs.vector import Autoreset
from actorrl.roles.batch import FragmentBatch
from actorrl.rollouts.callbacks import DefaultCallbacks, watches_episodes

Body = dict[str, Any]
Arrays = dict[str, np.ndarray]
Metrics = Mapping[str, Any]  # scalars: floats, or tensors without gradient
State = dict[str, Any]  # nested dicts of arrays and plain values: what a checkpoint holds

# (seed, global indices of the worker's environments) -> the policy that acts in them
MakePolicy = Callable[[int, np.ndarray], Any]  # a Policy, or a PolicyMap
# fragment -> the message to send
Postprocess = Callable[[Fragment], tuple[Body, Arrays]]
# (the policy that acts, number of its environments) -> postprocess
MakePostprocess = Callable[[Any, int], Postprocess]
# (worker settings, worker, seed, the policy that acts) -> what is stepped, what makes fragments
MakeSource = Callable[["WorkerSettings", int, int, Any], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class WorkerSettings:
    """Of all rollout workers of a run. `env` is what `envs.registry` resolved."""

    env: Any
    env_config: dict[str, Any]
    num_workers: int
    num_envs_per_worker: int
    fragment_length: int
    seed: int
    autoreset: Autoreset | None = None
    recreate_failed_envs: bool = False
    whole_episodes: bool = False  # fragments of these alone
    num_lead_in: int = 0  # rows before a fragment whose frames the postprocess needs as well
    unread: frozenset[str] = frozenset()  # extras of policies that the learner does not read
    output: str | None = None  # folder of the dataset that the workers write
    callbacks: type[DefaultCallbacks] | None = None  # the user's class
    collects_fragments: bool = True  # else there are no episodes for callbacks to see
    # Where there are several agents: agent -> policy, and what each policy's agents observe.
    mapping_fn: Callable[..., str] | None = None
    raw_spaces: dict[str, Any] = dataclasses.field(default_factory=dict)
    make_source: MakeSource | None = None  # experience of another kind than from `env`

    @property
    def num_envs_total(self) -> int:
        return self.num_workers * self.num_envs_per_worker

    def env_indices(self, worker: int) -> np.ndarray:
        """The global indices of a worker's environments; a restarted worker keeps them."""
        first = worker * self.num_envs_per_worker
        return np.arange(first, first + self.num_envs_per_worker)

    def watches_episodes(self) -> bool:
        """Whether callbacks want environments to be at hand one by one."""
        return watches_episodes(self.callbacks, self.collects_fragments)

    def worker_seed(self, worker: int, incarnation: int) -> int:
        """Differs between workers, and between a worker and its successor."""
        sequence = np.random.SeedSequence([self.seed, worker, incarnation])
        return int(sequence.generate_state(1)[0])


class Update(Protocol):
    """What is learned from a batch; the algorithm file's own class.

    Called on the learner's main thread. `timesteps` is the learner's global count of valid
    env steps, on which schedules run.
    """

    @property
    def policy(self) -> Any: ...  # a Policy, or a PolicyMap
    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics: ...
    def state_dict(self) -> State: ...
    def load_state_dict(self, state: State) -> None: ...


class Recovery(NamedTuple):
    """What a learner that was started again goes on from."""

    state: State | None  # as `Learner.get_state` returned it; None: there was none
    checkpoint: str | None  # where it was found
    damaged: list[str]  # newer ones that had to be passed over, and why
    epoch: int  # not taken before in this run
    is_here: bool = True  # False: nothing can be read on this host, the driver has to bring it


ELSEWHERE = Recovery(None, None, [], 0, is_here=False)


MakeUpdate = Callable[[str], Update]  # device -> update


class Batch(Protocol):
    """Gathers the columns of fragments until an update has enough of them; see batch.py."""

    @property
    def num_env_steps(self) -> int: ...
    @property
    def is_empty(self) -> bool: ...
    def add(self, columns: Mapping[str, np.ndarray], num_env_steps: int) -> None: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def clear(self) -> None: ...


MakeBatch = Callable[[str], Batch]  # device -> batch


@dataclasses.dataclass(frozen=True)
class LearnerSettings:
    """Of a learner or parameter server. `recover` loads the newest recovery state, if any."""

    make_update: MakeUpdate
    train_batch_size: int
    num_learners: int = 1  # processes that share each batch
    num_gpus: float = 0.0  # of each learner
    num_threads: int = 1
    max_policy_lag: int | None = None
    min_publish_interval_s: float = 0.0
    recover: Callable[[], Recovery | None] = lambda: None
    make_batch: MakeBatch = FragmentBatch
