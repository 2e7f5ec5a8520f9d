"""A3C's workers and parameter server: one pinned version, one gradient in flight, no barrier."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

import numpy as np
import torch

from actorrl.algorithms.a2c import compute_loss, make_policy
from actorrl.algorithms.a3c import A3C, A3CUpdate
from actorrl.algorithms.base import Setup
from actorrl.data import columns as c
from actorrl.roles.gradient_worker import GradientWorker, by_backward
from actorrl.roles.parameter_server import ParameterServer
from actorrl.runtime.program import Program
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


class Differentiated(NamedTuple):
    """What a worker had when it computed its gradient."""

    version: int
    weights: np.ndarray
    batch: dict[str, torch.Tensor]
    timesteps: int  # that schedules ran on


class Applied(NamedTuple):
    """What the server got."""

    source: str
    version: int  # that the gradient was computed from
    newest: int  # before it was applied
    gradient: np.ndarray
    rms: float  # of the value targets behind it


class WatchedServer(ParameterServer):
    """Keeps every gradient, and all weights ever published with the env steps until then."""

    def on_start(self) -> None:
        self.published: dict[int, np.ndarray] = {}
        self.counted: dict[int, int] = {}
        self.applied: list[Applied] = []
        super().on_start()

    def _publish(self) -> None:
        super()._publish()
        self.published[self.weights.version] = self.update.policy.flat_weights()
        self.counted[self.weights.version] = self.tally.timesteps_total

    def take(self, item: Any) -> None:
        gradient = item.arrays["gradient"].copy()
        version = item.body["policy_version"]
        rms = item.body["metrics"]["vf_targets_rms"]
        self.applied.append(Applied(item.source, version, self.weights.version, gradient, rms))
        super().take(item)


class SlowWorker(GradientWorker):
    """Worker 0 works in about one round of ten only."""

    def on_start(self) -> None:
        self._rounds = 0
        super().on_start()

    def has_work(self) -> bool:
        self._rounds += 1
        return self.context.index > 0 or self._rounds % 20 < 2  # asked twice a round


SEEN: list[Differentiated] = []


def watched_loss(config: Any, policy: Any, batch: Any, timesteps: int) -> Any:
    SEEN.append(Differentiated(policy.version, policy.flat_weights(), dict(batch), timesteps))
    return compute_loss(config, False, policy, batch, timesteps)


def program_of(num_workers: int, cls: type[GradientWorker] = GradientWorker) -> tuple[Program, Any]:
    SEEN.clear()
    config, info = worlds.configured("A3C", COUNTING, grad_clip=None, num_workers=num_workers)
    config.training(rollout_fragment_length=6, num_envs_per_worker=2, lr=1e-2)
    program = A3C.program(config, Setup(info, 0, lambda: None))
    program.nodes["learner/0"].cls = WatchedServer
    for i in range(num_workers):
        node = program.nodes[f"rollout/{i}"]
        node.cls = cls
        loss = functools.partial(watched_loss, config)
        settings = dataclasses.replace(node.args[0], unread=frozenset())  # the tests do
        node.args = (settings, node.args[1], functools.partial(by_backward, loss))
    return program, functools.partial(make_policy, config, info, 0, np.arange(2))


def test_one_version_is_pinned_for_a_whole_rollout_and_its_gradient() -> None:
    program, make = program_of(num_workers=2)
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=20)
        server = worlds.actor(cluster)
    policy = make()
    gradients = {(a.version, a.gradient.tobytes()) for a in server.applied}
    assert len(gradients) == len(server.applied) >= 20
    for seen in SEEN[: len(server.applied)]:
        published = server.published[seen.version]
        np.testing.assert_array_equal(seen.weights, published)
        policy.load_flat(published, seen.version)
        logits, _ = policy.forward_sequence(seen.batch, 6, 2)
        logp = torch.log_softmax(logits, -1).gather(-1, seen.batch[c.ACTIONS].unsqueeze(-1))
        acted = seen.batch[c.ACTION_LOGP]
        np.testing.assert_allclose(logp.squeeze(-1).detach(), acted, atol=1e-5)


def test_schedules_run_on_the_servers_own_count_of_env_steps_after_a_restore_too() -> None:
    program, _ = program_of(num_workers=2)
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=20)
        server, state = worlds.actor(cluster), cluster.ref("learner/0").get_state.call().result()
        assert all(seen.timesteps == server.counted[seen.version] for seen in SEEN)
    program, _ = program_of(num_workers=2)
    with worlds.running(program) as cluster:
        cluster.ref("learner/0").set_state.call({**state, "timesteps_total": 10**6}).result()
        worlds.train(cluster, min_updates=5)
        server = worlds.actor(cluster)
        assert all(seen.timesteps == server.counted[seen.version] for seen in SEEN)
    assert SEEN[-1].timesteps > 10**6


def test_one_gradient_is_in_flight_and_the_next_rollout_contains_it() -> None:
    program, _ = program_of(num_workers=3)
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=30)
        applied = worlds.actor(cluster).applied
    for source in {a.source for a in applied}:
        own = [a for a in applied if a.source == source]
        for before, after in itertools.pairwise(own):
            assert after.version > before.newest, "acted before its own gradient was in"


def test_a_ten_times_slower_worker_holds_nobody_up() -> None:
    """By order and age alone: nine tenths of the gradients are the fast ones', which are no older
    than with two workers, and the slow one's is learned from, too."""
    program, _ = program_of(3, SlowWorker)
    with worlds.running(program) as cluster:
        report = worlds.train(cluster, min_updates=105)
        applied = worlds.actor(cluster).applied
    count = {f"rollout/{i}": sum(a.source == f"rollout/{i}" for a in applied) for i in range(3)}
    assert abs(count["rollout/1"] - count["rollout/2"]) <= 1
    assert 0 < count["rollout/0"] <= count["rollout/1"] / 5
    ages = [a.newest - a.version for a in applied if a.source != "rollout/0"]
    assert max(ages) <= 2, "as many as there are other workers"
    assert report["counters"]["num_dropped_stale"] == 0


def test_between_two_iterations_gradients_wait_and_none_is_lost() -> None:
    program, _ = program_of(num_workers=2)
    with worlds.running(program) as cluster:
        first = worlds.train(cluster, min_updates=5)
        worlds.poll(cluster, 20)
        server = worlds.actor(cluster)
        assert server.tally.num_updates == 5 and len(SEEN) == 7, "one more of each worker, waiting"
        second = worlds.train(cluster, min_updates=5)
    assert second["num_updates"] == 10
    assert second["timesteps_total"] > first["timesteps_total"]
    assert len({a.gradient.tobytes() for a in server.applied}) == 10


def test_the_server_alone_has_the_optimizer_and_steps_with_each_gradient_as_it_came() -> None:
    program, _ = program_of(num_workers=2)
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=12)
        server = worlds.actor(cluster)
    config, info = worlds.configured("A3C", COUNTING, grad_clip=None, lr=1e-2)
    update = A3CUpdate(config, info, 0, "cpu")
    for applied in server.applied:
        update.policy.set_flat_gradient(applied.gradient)
        update({"vf_targets_rms": torch.tensor([applied.rms])}, 0)
    np.testing.assert_array_equal(update.policy.flat_weights(), server.update.policy.flat_weights())
