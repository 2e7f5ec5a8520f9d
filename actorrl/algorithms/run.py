"""A run as the driver holds it: its actors, what it counts, and what it writes down."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from actorrl.algorithms import actor_states, far_hosts
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.reporting import Reporter
from actorrl.algorithms.run_record import RunRecord
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.envs.check import EnvInfo
from actorrl.errors import ActorDied, ActorRLError, RemoteError, RunFailed
from actorrl.roles.divergence import LearningDiverged
from actorrl.roles.learner import NotRestored
from actorrl.roles.settings import State
from actorrl.rollouts.episodes import EpisodeWindow
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.launchers import early
from actorrl.runtime.program import Program
from actorrl.runtime.refs import NO_LIMIT, ActorRef, RemoteMethod
from actorrl.runtime.slots import Policy

if TYPE_CHECKING:
    from actorrl.algorithms.base import Algorithm
    from actorrl.runtime.launchers.over_ssh import SshLauncher

_POLL_S = 0.05
_log = logging.getLogger(__name__)


@dataclasses.dataclass
class Counters:
    """What the driver counts, over all its lives."""

    training_iteration: int = 0
    time_total_s: float = 0.0
    restarts_before: int = 0  # of actors, in the lives before this one


class Run:
    """Used by its Algorithm alone, on the driver's thread. Nothing is started before `start`, or
    before the learner is asked for something."""

    def __init__(
        self,
        algorithm: type[Algorithm],
        config: AlgorithmConfig,
        program: Program,
        record: RunRecord,
        launch: SshLauncher | None,
        info: EnvInfo,
        about: Callable[[], Mapping[str, Any]],
    ) -> None:
        """`about()` is what a checkpoint says of itself."""
        self.record = record
        self._about = about
        self.counters = Counters()
        self.weights: Any = None  # the reading end of what the learner publishes, once it does
        self._first: State | None = None  # what the actors go on from when they start
        self._stopped = False
        self._failed = False  # before it was stopped
        self._incarnations: dict[int, int] = {}
        self._config = config
        self._goal = algorithm.iteration(config)
        inline = config.num_workers == 0
        num_shards = sum(node.role == "replay" for node in program.nodes.values())
        self.reporter = Reporter(_window(algorithm, config, info), inline, num_shards)
        self.cluster = Cluster(
            program,
            config.cluster_spec(),
            launcher="inproc" if inline else "local",
            launch=launch,
            log_dir=record.folder.logs,
            on_event=self._on_event,
            on_report=self.reporter.on_worker_report,
            policy=Policy(start_timeout_s=config.start_timeout_s),
            run_id=record.who.run_id,
        )
        self.write_status("starting")

    def _on_event(self, event: dict[str, Any]) -> None:
        self.record.on_event(self.reporter.lost_at_least(event))
        ends_well = self._stopped and not self._failed  # else it is told what ended the run
        if ends_well and event["event"] == "actor_exited":  # the others end without a word
            _log.warning("%s failed at its end: %s", event["actor"], event["reason"])

    def start(self) -> None:
        """The actors, unless they have been started. Raises RunFailed if one cannot start."""
        if self.weights is not None:
            return
        if self._stopped:
            raise RunFailed("this run was stopped: from_checkpoint makes another one")
        try:
            self.cluster.start()
            self.weights = self.cluster.block_reader("weights")
            if self._first is not None:
                self._give(self._first)
        except BaseException:  # without its state nobody may go on
            self.cluster.stop(grace_s=0.0)
            self.write_status("failed")
            raise
        finally:  # it waits still where all actors share this process, or it failed before
            early.discard()
        self._first = None
        self.write_status("running")

    @property
    def learner(self) -> ActorRef:
        """To be asked at once."""
        self.start()
        return self.cluster.ref("learner/0")

    def refs(self, role: str) -> list[ActorRef]:
        """The actors of a role, in order."""
        refs = self.cluster.program.refs
        return [ref for name, ref in refs.items() if name.startswith(f"{role}/")]

    # ---- training -----------------------------------------------------------------------

    def iterate(self, stay: bool) -> dict[str, Any]:
        """Ask the learner, and watch over the run while it learns. If the learner dies, or has died
        since, ask its successor, which goes on from the newest recovery checkpoint."""
        while True:
            try:
                future = self.learner.train.within(NO_LIMIT).call(**self._goal, stay=stay)
                while not future.done():
                    self.cluster.poll(_POLL_S)
                    if self.record.actors_changed.is_set():
                        self.write_status("running")
                report: dict[str, Any] = future.result()
                return report
            except LearningDiverged as error:  # in this process
                raise RunFailed(str(error)) from None
            except (ActorDied, RemoteError) as error:
                self._bear(error)

    def _bear(self, error: ActorDied | RemoteError) -> None:
        """What a call to the learner raised; returns where its successor may be asked again. On
        another host it has to be brought its state first, whenever its predecessor has died."""
        if isinstance(error, ActorDied):
            self.cluster.check()
        elif error.type_name == NotRestored.__name__:
            folder = str(self.record.folder.path)
            far_hosts.recover(self.learner, folder, self.cluster.check)
        elif error.type_name == LearningDiverged.__name__:
            raise RunFailed(error.remote_message) from None
        else:
            raise error

    def _ask_learner(self, method: RemoteMethod, *arguments: Any) -> Any:
        """The answer of a method that may run twice: should it die, its successor is asked."""
        while True:
            try:
                return method.within(actor_states.STATE_TIMEOUT_S).call(*arguments).result()
            except (ActorDied, RemoteError) as error:
                self._bear(error)

    def pause(self) -> dict[str, Any]:
        report: dict[str, Any] = self._ask_learner(self.learner.pause)
        return report

    def row(self, report: Mapping[str, Any], elapsed: float) -> dict[str, Any]:
        """The next row of results; `elapsed` seconds since the last one."""
        self.counters.time_total_s += elapsed
        row = {
            "training_iteration": self.counters.training_iteration,
            **self.reporter.row(report, elapsed),
            "time_this_iter_s": elapsed,
            "time_total_s": self.counters.time_total_s,
            "num_healthy_workers": self.cluster.num_ready("rollout"),
            "num_restarts": self.num_restarts(),
        }
        row["info"]["num_envs_recreated"] = self.record.num_envs_recreated
        if traffic := self.cluster.traffic():
            row["info"]["network"] = traffic
        if drops := self.cluster.drops():
            row["info"]["drops"] = drops
        return row

    def recreated_workers(self) -> list[int]:
        """Indices (from 1) of the rollout workers that were started again since the last call."""
        rows = [row for row in self.cluster.status() if row["role"] == "rollout"]
        now = {int(row["name"].rpartition("/")[2]) + 1: row["incarnation"] for row in rows}
        before, self._incarnations = self._incarnations, now
        return [i for i in now if now[i] != before.get(i, now[i])]

    def num_restarts(self) -> int:
        return self.counters.restarts_before + self.cluster.num_restarts()

    def write_status(self, state: str) -> None:
        self.record.actors_changed.clear()
        iteration, timesteps = self.counters.training_iteration, self.reporter.timesteps_total
        self.record.write_status(state, iteration, timesteps, self.cluster.status())

    def write_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """To the learner, which has them before its next update."""
        self._ask_learner(self.learner.set_weights, dict(weights))

    def learn_on_batch(self, columns: dict[str, np.ndarray]) -> dict[str, float]:
        """One update of the learner with a batch as workers send it; its metrics. Raises RunFailed
        where a loss is NaN."""
        return self._teach(self.learner.learn_on_batch, columns)

    def apply_gradients(self, gradient: np.ndarray) -> dict[str, float]:
        """A step of the learner along [P]; its metrics."""
        return self._teach(self.learner.apply_gradients, gradient)

    def _teach(self, method: RemoteMethod, what: Any) -> dict[str, float]:
        """Is not asked twice, should the learner die."""
        try:
            call = method.within(actor_states.STATE_TIMEOUT_S).call
            metrics: dict[str, float] = call(what).result()
        except LearningDiverged as error:  # in this process
            raise RunFailed(str(error)) from None
        except RemoteError as error:
            if error.type_name != LearningDiverged.__name__:
                raise
            raise RunFailed(error.remote_message) from None
        return metrics

    # ---- the state of a checkpoint ------------------------------------------------------

    def learner_state(self) -> State:
        """Of now."""
        state: State = self._ask_learner(self.learner.get_state)
        return state

    def state(self) -> State:
        """Of now. Raises RunFailed when the run is over."""
        return {
            "learner": self.learner_state(),
            "window": self.reporter.window.state_dict(),
            "training_iteration": self.counters.training_iteration,
            "time_total_s": self.counters.time_total_s,
            "num_restarts": self.num_restarts(),
            "random": actor_states.random_states(self.cluster),
        }

    def load_state(self, state: State) -> None:
        """The actors go on from there, with as many workers as there are now; those that have not
        been started, when they are."""
        learner, counters = state["learner"], self.counters
        self.reporter.window.load_state_dict(state["window"])
        counters.training_iteration = int(state["training_iteration"])
        counters.time_total_s = float(state["time_total_s"])
        counters.restarts_before = int(state["num_restarts"])
        self.reporter.continue_from(int(learner["timesteps_total"]), int(learner["num_updates"]))
        if self.weights is None:
            self._first = state
        else:
            self._give(state)

    def _give(self, state: State) -> None:
        """To the actors; a learner that dies before the next recovery checkpoint has it, too."""
        self._ask_learner(self.learner.set_state, state["learner"])
        actor_states.load_random_states(self.cluster, state.get("random", {}))
        self.record.save_recovery(state, self._about())

    # ---- the end ------------------------------------------------------------------------

    def stop(self, grace_s: float | None) -> list[int]:
        """End all processes, see Cluster.stop; the pids that could not be ended."""
        self._failed = self._has_failed()
        self._stopped = True
        try:
            return self.cluster.stop(grace_s)
        finally:  # in one process, what an actor raises at its end comes from there
            self.write_status("failed" if self._failed else "stopped")
            self.record.close()

    def _has_failed(self) -> bool:
        try:
            self.cluster.check()
        except ActorRLError:
            return True
        return False


def _window(algorithm: type[Algorithm], config: AlgorithmConfig, info: EnvInfo) -> EpisodeWindow:
    return EpisodeWindow(
        config.num_envs_total(),
        config.metrics_num_episodes_for_smoothing,
        functools.partial(algorithm.counts_env, config),
        info.policies or (DEFAULT_POLICY,),
    )
