"""Algorithm: what a user builds, trains, saves and stops. The command line uses this same object.

It lives in the driver. It starts the Program of its algorithm's file, asks the learner for one
iteration at a time, and keeps the run folder.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from actorrl.algorithms import (
    actor_states,
    described,
    evaluating,
    far_hosts,
    restoring,
    resuming,
)
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.mirror import PolicyMirror, PolicyPart
from actorrl.algorithms.reporting import Reporter
from actorrl.algorithms.setup import Setup, acting_policy, as_config
from actorrl.algorithms.worker_set import WorkerSet
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.envs.check import EnvInfo
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ActorDied, ActorRLError, CheckpointError
from actorrl.experiment.checkpoints import CheckpointKeeper, write_checkpoint
from actorrl.experiment.results import ResultWriter
from actorrl.experiment.run_folder import RunFolder, default_name, default_results_dir
from actorrl.policies.base import Policy
from actorrl.roles.settings import State
from actorrl.roles.worker_view import WorkerView
from actorrl.rollouts.callbacks import DefaultCallbacks
from actorrl.rollouts.episodes import EpisodeWindow
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.inventory import this_host
from actorrl.runtime.offers import assumed_offers
from actorrl.runtime.placement import place
from actorrl.runtime.program import Program
from actorrl.runtime.refs import NO_LIMIT

_log = logging.getLogger(__name__)
_POLL_S = 0.05


__all__ = ["Algorithm", "Setup"]


class Algorithm:
    """Base of the algorithms. Each file gives `config_class` and the methods under "the file's"."""

    config_class: ClassVar[type[AlgorithmConfig]]

    # ---- the file's own -----------------------------------------------------------------

    @staticmethod
    def program(config: Any, setup: Setup) -> Program:
        """The actors and links of a run."""
        raise NotImplementedError

    @staticmethod
    def make_policy(config: Any, info: EnvInfo, seed: int, env_indices: np.ndarray) -> Policy:
        """The policy that acts in the environments with these global indices."""
        raise NotImplementedError

    @staticmethod
    def iteration(config: Any) -> dict[str, float]:
        """What one iteration needs: min_updates, min_env_steps, min_time_s. Where rows of results
        repeat, time has no say in them: one train batch."""
        return {
            "min_updates": 1,
            "min_env_steps": 0,
            "min_time_s": 0.0 if config.reproducible else config.min_time_s_per_iteration,
        }

    @staticmethod
    def counts_env(config: Any, env_index: int) -> bool:
        """Whether an environment's episodes count for `episode_reward_mean`."""
        return True

    # ---- building -----------------------------------------------------------------------

    def __init__(
        self,
        config: AlgorithmConfig | dict[str, Any] | None = None,
        env: Any = None,
        *,
        name: str | None = None,
        results: str | Path | None = None,
        stop: Mapping[str, Any] | None = None,
        keep: int | None = None,
        run_folder: RunFolder | None = None,
    ) -> None:
        """Check everything, make the run folder, start the actors. `run_folder` goes on in an
        existing one. Raises ConfigError, EnvironmentFailure, RunFolderError, PlacementError before
        anything is created, RunFailed if an actor cannot start."""
        self.config = as_config(type(self).config_class, config, env).copy()
        self.name = type(self).__name__
        self.info = restoring.checked(self.config)
        self.config.freeze()
        self.stop_criteria = dict(stop or {})
        self.run_id = secrets.token_hex(8)
        self._seed = self.config.seed if self.config.seed is not None else secrets.randbits(31)
        self._check_placement()
        self._launch = far_hosts.ready(self.config.cluster_spec())
        try:
            self._folder = run_folder or self._make_folder(name, results)
            self._folder.acquire(self.run_id)
            try:
                self._set_up(keep)
            except BaseException:
                self._folder.release()
                raise
        finally:
            if self._launch is not None:
                self._launch.close()

    def _check_placement(self) -> None:
        """Before anything is made or reached."""
        spec = self.config.cluster_spec()
        program = type(self).plan(self.config, self.info)
        place(program, assumed_offers(spec, this_host(), program), spec.roles)

    def _set_up(self, keep: int | None) -> None:
        self._training_iteration = 0
        self._time_total_s = 0.0
        self._actors_changed = threading.Event()  # set by the cluster's thread
        self._keeper = CheckpointKeeper(self._folder, keep)
        self._writer = ResultWriter(self._folder)
        self._evaluation: dict[str, Any] = {}
        self._restarts_before = 0
        self._envs_recreated = 0
        self._stopped = False
        config = self.config
        self._inline = config.num_workers == 0
        window = EpisodeWindow(
            config.num_envs_total(),
            config.metrics_num_episodes_for_smoothing,
            functools.partial(type(self).counts_env, config),
        )
        self._reporter = Reporter(window, self._inline)
        recover = functools.partial(restoring.newest_learner_state, str(self._folder.path))
        program = self._program(config, Setup(self.info, self._seed, recover))
        program.limit_progress(config.progress_limit_s)
        self._folder.write_params(self._params(program))
        self._cluster = Cluster(
            program,
            config.cluster_spec(),
            launcher="inproc" if self._inline else "local",
            launch=self._launch,
            log_dir=self._folder.logs,
            on_event=self._on_event,
            on_report=self._reporter.on_worker_report,
            run_id=self.run_id,
        )
        self._write_status("starting")
        try:
            self._cluster.start()
        except BaseException:
            self._write_status("failed")
            raise
        self._learner = self._cluster.ref("learner/0")
        acting = acting_policy(config, self.info, type(self).make_policy)
        policy = acting(self._seed, config.greediest_env())
        self._policy = PolicyMirror(
            policy, self._cluster.block_reader("weights"), self._write_weights
        )
        refs = self._cluster.program.refs
        rollouts = [ref for name, ref in refs.items() if name.startswith("rollout/")]
        self._workers = WorkerSet(rollouts, WorkerView(0, self._policies()))
        self._evaluators = evaluating.evaluators_of(self._cluster.program)
        self._under_way: evaluating.Evaluation | None = None
        self._callbacks = (config.callbacks_class or DefaultCallbacks)()
        self._callbacks.on_algorithm_init(algorithm=self)
        self._write_status("running")

    def _make_folder(self, name: str | None, results: str | Path | None) -> RunFolder:
        results = results if results is not None else default_results_dir()
        if name is not None:
            return RunFolder.create(results, name)
        base = default_name(self.name, self.info.name)
        taken = [p.name for p in Path(results).expanduser().glob(f"{base}*")]
        return RunFolder.create(results, f"{base}_{len(taken) + 1}" if taken else base)

    @classmethod
    def plan(cls, config: AlgorithmConfig, info: EnvInfo | None = None) -> Program:
        """The Program of a run; starts nothing."""
        info = info or restoring.checked(config)
        # Spaces and models that cannot be are refused here, not by an actor that has been started.
        acting_policy(config, info, cls.make_policy)(0, config.greediest_env())
        return cls._program(config, Setup(info, config.seed or 0, lambda: None))

    @classmethod
    def _program(cls, config: AlgorithmConfig, setup: Setup) -> Program:
        """The file's Program, and what its actors ask of their hosts."""
        program = cls.program(config, setup)
        evaluating.add_evaluators(program, config, setup.info)
        for role, needed in config.memory_needs(setup.info).items():
            program.require(role, mem=needed.num_bytes, because=needed.arithmetic)
        for role, spec in config.cluster_spec().roles.items():
            program.require(role, cpu=spec.cpu, gpu=spec.gpu, mem=spec.mem)
        return program

    # ---- training -----------------------------------------------------------------------

    def train(self, *, stay: bool = False) -> dict[str, Any]:
        """One iteration; its result, which is also a row of result.json. `stay`: the actors go on
        after it, since the next call follows at once (the command line's loop)."""
        started = time.monotonic()
        due = self._due(self.config.evaluation_interval, self._training_iteration + 1)
        if due and self._evaluators:
            self._under_way = self._start_evaluation(self.config.evaluation_duration, False)
        report = self._iterate(stay)
        return self._finish_row(report, started)

    def _finish_row(self, report: dict[str, Any], started: float) -> dict[str, Any]:
        self._training_iteration += 1
        self._reporter.add_episodes(report)
        if self._due(self.config.evaluation_interval, self._training_iteration):
            self._evaluation = self.evaluate()
        elapsed = time.monotonic() - started
        self._time_total_s += elapsed
        row = {
            "training_iteration": self._training_iteration,
            **self._reporter.row(report, elapsed),
            "time_this_iter_s": elapsed,
            "time_total_s": self._time_total_s,
            "num_healthy_workers": self._cluster.num_ready("rollout"),
            "num_restarts": self._num_restarts(),
            "evaluation": self._evaluation,
        }
        row["info"]["num_envs_recreated"] = self._envs_recreated
        self._callbacks.on_train_result(algorithm=self, result=row)
        self._writer.write(row)
        if self._keeper.recovery_due(time.monotonic()):
            self._save_recovery()
        self._write_status("running")
        return row

    def _save_recovery(self) -> None:
        """A disk that refuses costs this checkpoint, not the run: the ones before it are whole."""
        try:
            self._keeper.save_recovery(self._state(), self._about())
        except CheckpointError as error:
            _log.warning("%s", error)
            self._on_event({"event": "checkpoint_failed", "reason": str(error)})

    def _iterate(self, stay: bool) -> dict[str, Any]:
        """Ask the learner, and watch over the run while it learns. If the learner dies, ask its
        successor, which goes on from the newest recovery checkpoint."""
        goal = type(self).iteration(self.config)
        while True:
            future = self._learner.train.within(NO_LIMIT).call(**goal, stay=stay)
            while not future.done():
                self._cluster.poll(_POLL_S)
                if self._actors_changed.is_set():
                    self._write_status("running")
            try:
                report: dict[str, Any] = future.result()
                return report
            except ActorDied:
                self._cluster.check()
                spec = self.config.cluster_spec()
                far_hosts.recover(self._learner, spec, str(self._folder.path), self._cluster.check)

    def _due(self, interval: int | None, iteration: int) -> bool:
        return interval is not None and iteration % interval == 0

    def _num_restarts(self) -> int:
        return self._restarts_before + self._cluster.num_restarts()

    def pause(self) -> dict[str, Any]:
        """No update is made until the next `train`; what the learner has done so far."""
        report: dict[str, Any] = actor_states.asked_again(self._cluster, self._learner.pause)
        return report

    def finish(self) -> str:
        """Pause, write a last row if anything has happened since the last one, and a checkpoint of
        just that state; its path."""
        started = time.monotonic()
        report = self.pause()
        if self._reporter.is_new(report):
            self._finish_row(report, started)
        return self.save()

    def bottleneck(self) -> str:
        """One sentence: what the run waits for, and the setting that would move it."""
        return self._reporter.bottleneck

    # ---- looking and acting -------------------------------------------------------------

    @property
    def run_folder(self) -> str:
        """Path of the run folder."""
        return str(self._folder.path)

    logdir = run_folder

    @property
    def env_name(self) -> str:
        return self.info.name

    def get_policy(self, policy_id: str = DEFAULT_POLICY) -> PolicyMirror | PolicyPart:
        """The policy with the newest weights; what is written to it reaches the learner."""
        policies = self._policies()
        if policy_id not in policies:
            known = ", ".join(map(repr, policies))
            raise KeyError(f"no policy {policy_id!r}: this run has {known}")
        return policies[policy_id]

    def _policies(self) -> dict[str, PolicyMirror | PolicyPart]:
        if self.info.policies is None:
            return {DEFAULT_POLICY: self._policy}
        return {name: PolicyPart(self._policy, name) for name in self.info.policies}

    @property
    def workers(self) -> WorkerSet:
        """The rollout workers, and the driver's own copy."""
        return self._workers

    optimizer = workers  # RLlib's older name

    @property
    def local_evaluator(self) -> WorkerView:
        return self._workers.local_worker()

    def compute_single_action(
        self,
        observation: Any,
        state: Any = None,
        *,
        explore: bool | None = None,
        full_fetch: bool = False,
        policy_id: str = DEFAULT_POLICY,
        **ignored: Any,
    ) -> Any:
        """An action for one observation of the environment. With `state` (an LSTM's) or
        `full_fetch` a tuple (action, state, extras), as RLlib's. KeyError for an unknown policy."""
        obs = observation
        info = self.info if self.info.policies is None else self.info.policies[policy_id]
        if info.frame_stack == 1:
            obs = preprocessor_for(info.raw_observation_space).transform([observation])[0]
        greedy_default = False if explore is None else explore
        action, state_out, extras = self.get_policy(policy_id).compute_single_action(
            obs, state, explore=greedy_default
        )
        return (action, state_out, extras) if full_fetch or state is not None else action

    def evaluate(self, *, episodes: int | None = None, explore: bool = False) -> dict[str, Any]:
        """Play episodes on fixed seeds, with the newest weights; or what the user's
        `custom_evaluation_function(algorithm, workers)` returns. Where evaluators play beside
        training, row n has what the weights at the beginning of iteration n have reached."""
        self._callbacks.on_evaluate_start(algorithm=self)
        custom = self.config.custom_evaluation_function
        if custom is not None:
            metrics = custom(self, self._workers)
        else:
            metrics = self._played(episodes or self.config.evaluation_duration, explore)
        self._callbacks.on_evaluate_end(algorithm=self, evaluation_metrics=metrics)
        return dict(metrics)

    def _played(self, episodes: int, explore: bool) -> dict[str, Any]:
        """By the evaluators, or where there is none (any more) by the driver."""
        under_way, self._under_way = self._under_way, None
        if under_way is None and self._evaluators:
            under_way = self._start_evaluation(episodes, explore)
        found = under_way.metrics() if under_way is not None else None
        if found is None:
            policy = self._policy.refresh()
            found = restoring.play_episodes(self.config, self.info, policy, episodes, explore)
        return found

    def _start_evaluation(self, episodes: int, explore: bool) -> evaluating.Evaluation:
        weights = self._policy.refresh().flat_weights()
        return evaluating.Evaluation(self._evaluators, weights, episodes, explore)

    def status(self) -> list[dict[str, Any]]:
        """A row per actor."""
        return self._cluster.status()

    # ---- saving and restoring -----------------------------------------------------------

    def save(self, checkpoint_dir: str | Path | None = None) -> str:
        """Write a checkpoint; its path. Without a folder it goes into the run's `checkpoints/`."""
        if checkpoint_dir is None:
            return str(self._keeper.save(self._training_iteration, self._state(), self._about()))
        path = Path(checkpoint_dir).expanduser() / f"checkpoint_{self._training_iteration:06d}"
        return str(write_checkpoint(path, self._state(), self._about()))

    def restore(self, checkpoint_path: str | Path, *, rewind: bool = False) -> None:
        """Continue from a checkpoint of the same algorithm and spaces. `rewind`: rows of results
        after it are taken back."""
        self._load(restoring.read_fitting(checkpoint_path, self._about()))
        if rewind:
            self._writer.rewind(self._training_iteration)
        self._callbacks.on_checkpoint_loaded(algorithm=self)

    def _state(self) -> State:
        return {
            "learner": actor_states.asked_again(self._cluster, self._learner.get_state),
            "window": self._reporter.window.state_dict(),
            "training_iteration": self._training_iteration,
            "time_total_s": self._time_total_s,
            "num_restarts": self._num_restarts(),
            "random": actor_states.random_states(self._cluster),
        }

    def _load(self, state: State) -> None:
        learner = state["learner"]
        actor_states.asked_again(self._cluster, self._learner.set_state, learner)
        self._reporter.window.load_state_dict(state["window"])
        self._training_iteration = int(state["training_iteration"])
        self._time_total_s = float(state["time_total_s"])
        self._restarts_before = int(state["num_restarts"])
        actor_states.load_random_states(self._cluster, state.get("random", {}))
        self._reporter.continue_from(int(learner["timesteps_total"]), int(learner["num_updates"]))

    def _about(self) -> dict[str, Any]:
        return restoring.about(self.name, self.config, self.info, self._training_iteration)

    @classmethod
    def from_checkpoint(cls, path: str | Path, env: Any = None, **options: Any) -> Self:
        """A new run that goes on from a checkpoint. `env` is needed where the checkpoint's
        environment cannot be imported."""
        algo = resuming.from_checkpoint(cls, path, env, options)
        assert isinstance(algo, cls)
        return algo

    @classmethod
    def resume(
        cls,
        folder: RunFolder,
        *,
        num_workers: int | None = None,
        hosts: Any = None,
        stop: Mapping[str, Any] | None = None,
        env: Any = None,
    ) -> Algorithm:
        """Go on in the same run folder from its newest whole checkpoint."""
        return resuming.resume(folder, num_workers, hosts, stop, env)

    # ---- the end ------------------------------------------------------------------------

    def stop(self, grace_s: float = 10.0) -> list[int]:
        """End all processes of the run. Returns the pids that could not be ended. Idempotent."""
        if self._stopped:
            return []
        self._stopped = True
        state = "failed" if self._has_failed() else "stopped"
        left = self._cluster.stop(grace_s)
        self._write_status(state)
        self._folder.release()
        return left

    cleanup = stop

    def _has_failed(self) -> bool:
        try:
            self._cluster.check()
        except ActorRLError:
            return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # ---- the run folder -----------------------------------------------------------------

    def _params(self, program: Program) -> dict[str, Any]:
        return {
            "algo": self.name,
            **described.params(self.config, self.info, program, self._seed),
            "stop": self.stop_criteria,
        }

    def _on_event(self, event: dict[str, Any]) -> None:
        details = {key: value for key, value in event.items() if key not in ("time", "event")}
        try:
            self._folder.append_event(event["event"], **details)
        except OSError as error:  # the run is worth more than its diary
            _log.warning("events.jsonl cannot be written (%s): %s", error.strerror, event)
        if event["event"] == "environments_recreated":
            self._envs_recreated += event["environments"]
        self._actors_changed.set()

    def _write_status(self, state: str) -> None:
        self._actors_changed.clear()
        status = {
            "run": self._folder.name,
            "run_id": self.run_id,
            "state": state,
            "driver_pid": os.getpid(),
            "algo": self.name,
            "env": self.info.name,
            "training_iteration": self._training_iteration,
            "timesteps_total": self._reporter.timesteps_total,
            "actors": self._cluster.status(),
        }
        try:
            self._folder.write_status(status)
        except OSError as error:
            _log.warning("status.json cannot be written (%s)", error.strerror)

    def _write_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        self._learner.set_weights.call(dict(weights)).result()
