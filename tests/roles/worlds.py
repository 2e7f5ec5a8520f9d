"""Programs of real roles in one process, and small actors that stand where a test wants control."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.registry import config_class
from actorrl.data import columns as c
from actorrl.data.fragment import Episode, Fragment, single_group
from actorrl.envs.check import EnvInfo, check_env
from actorrl.roles.settings import LearnerSettings, WorkerSettings
from actorrl.rollouts.postprocess import NStep
from actorrl.runtime.actor import Actor
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.program import Program
from actorrl.runtime.refs import NO_LIMIT

torch.set_num_threads(1)
PATIENCE_S = 110.0  # less than pytest's, which does not say where it waits


# ---- running a Program in this thread -------------------------------------------------------


@contextmanager
def running(program: Program) -> Iterator[Cluster]:
    cluster = Cluster(program, launcher="inproc")
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def actor(cluster: Cluster, name: str = "learner/0") -> Any:
    """The object behind a slot."""
    assert cluster._world is not None
    return cluster._world.mailboxes[name].actor


def begin(cluster: Cluster, **goal: Any) -> Any:
    """Ask the learner for an iteration; the future of its report."""
    goal = {"min_updates": 1, "min_env_steps": 0, "min_time_s": 0.0, **goal}
    return cluster.ref("learner/0").train.within(NO_LIMIT).call(**goal)


def train(cluster: Cluster, **goal: Any) -> dict[str, Any]:
    """One iteration; its report."""
    future = begin(cluster, **goal)
    poll_until(cluster, future.done)
    report: dict[str, Any] = future.result()
    return report


def poll_until(cluster: Cluster, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happens any more"
        cluster.poll()


def poll(cluster: Cluster, rounds: int = 5) -> None:
    """So many rounds of every actor: what can happen by itself has happened then."""
    for _ in range(rounds):
        cluster.poll()


def lose(cluster: Cluster, name: str) -> Callable[[], None]:
    """Take an actor away, as if its process had died, and tell the others. The function returned
    brings it back."""
    world = cluster._world
    assert world is not None
    mailbox = world.mailboxes.pop(name)

    def tell() -> None:
        for other in world.mailboxes.values():
            other.door.on_peers([name])

    def bring_back() -> None:
        world.mailboxes[name] = mailbox
        mailbox.door.queue.clear()
        tell()

    tell()
    return bring_back


# ---- what a Program is made of --------------------------------------------------------------


def configured(name: str, env: Any, **settings: Any) -> tuple[AlgorithmConfig, EnvInfo]:
    """An algorithm's config and what its environment is like; small, and of one thread."""
    config = config_class(name)().environment(env).debugging(seed=0)
    config.training(model={"fcnet_hiddens": [16]}, **settings)
    return config, check_env(env, config.env_config)


def workers(config: AlgorithmConfig, info: EnvInfo, seed: int = 0) -> WorkerSettings:
    return WorkerSettings(
        env=info.env,
        env_config=config.env_config,
        num_workers=config.resolved_num_workers(),
        num_envs_per_worker=config.num_envs_per_worker,
        fragment_length=config.fragment_length(),
        seed=seed,
        autoreset=config.autoreset,
    )


def learner(make_update: Callable[[str], Any], batch_size: int, **more: Any) -> LearnerSettings:
    return LearnerSettings(make_update=make_update, train_batch_size=batch_size, **more)


class RecordingUpdate:
    """Learns nothing by itself; keeps a copy of every batch. `inner` may learn from it."""

    def __init__(self, inner: Any, learns: bool, device: str = "cpu") -> None:
        self.inner = inner
        self.learns = learns
        self.batches: list[dict[str, torch.Tensor]] = []

    @property
    def policy(self) -> Any:
        return self.inner.policy

    def __call__(self, batch: dict[str, torch.Tensor], timesteps: int) -> dict[str, Any]:
        self.batches.append({name: tensor.clone() for name, tensor in batch.items()})
        if self.learns:
            return self.inner(batch, timesteps)
        return {c.PRIORITIES: np.ones(len(next(iter(batch.values()))))}

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state)


def recording(make_update: Callable[[str], Any], learns: bool = False) -> Callable[[str], Any]:
    return functools.partial(_recording, make_update, learns)


def _recording(make_update: Callable[[str], Any], learns: bool, device: str) -> RecordingUpdate:
    return RecordingUpdate(make_update(device), learns)


# ---- fragments by hand ----------------------------------------------------------------------


def fragment(
    policy_version: int, worker: int = 0, number: int = 0, rows: int = 4, envs: int = 2
) -> Fragment:
    """Without an end. Its observations say [worker, number, row]."""
    obs = np.empty((rows + 1, envs, 3), np.float32)
    obs[...] = [worker, number, 0]
    obs[..., 2] = np.arange(rows + 1)[:, None]
    none = np.zeros((rows, envs), bool)
    columns = {
        c.OBS: obs,
        c.AGE: np.tile(np.arange(rows + 1, dtype=np.int32)[:, None], (1, envs)),
        c.ACTIONS: np.zeros((rows, envs), np.int64),
        c.ACTION_LOGP: np.full((rows, envs), -np.log(3), np.float32),
        c.REWARDS: np.ones((rows, envs), np.float32),
        c.TERMINATEDS: none,
        c.TRUNCATEDS: none.copy(),
        c.VALID: ~none,
    }
    episodes = [Episode(worker, float(number), rows)]
    return Fragment(single_group(columns), rows * envs, policy_version, episodes, worker)


class Source(Actor):
    """Streams fragments of the given versions, one per step."""

    def __init__(self, versions: list[int]) -> None:
        self._versions = versions
        self.num_sent = 0

    def has_work(self) -> bool:
        return self.num_sent < len(self._versions)

    def step(self) -> None:
        version = self._versions[self.num_sent]
        message = fragment(version, self.context.index, self.num_sent).to_message()
        self.num_sent += 1
        self.context.stream("samples").send(*message)


class Asked(Actor):
    """Answers requests for fragments when the test says so."""

    def on_start(self) -> None:
        self.requests: list[Any] = []
        self.num_asked = 0

    def serve_samples(self, request: Any) -> None:
        self.requests.append(request)
        self.num_asked += 1

    def answer(self) -> None:
        request = self.requests.pop(0)
        version = request.body["min_version"]
        request.respond(*fragment(version, self.context.index, self.num_asked).to_message())


class AskedForRows(Actor):
    """Answers requests with 8 one-step rows each when the test says so."""

    def on_start(self) -> None:
        self.requests: list[Any] = []
        self.told: list[int] = []  # the run's env steps
        self._rows = NStep(1, 0.99, 2)

    def serve_samples(self, request: Any) -> None:
        self.requests.append(request)
        self.told.append(request.body["timesteps"])

    def answer(self) -> None:
        request = self.requests.pop(0)
        made = fragment(request.body["min_version"], self.context.index, len(self.told))
        body, _ = made.to_message()
        request.respond(body, self._rows.add(made.columns))


def without_metrics(program: Program) -> Program:
    """The Program without its reports, for actors that have none."""
    program.links.pop("metrics")
    return program
