"""Algorithm: what a user builds, trains, saves and stops. The command line uses this same object.

It lives in the driver. It starts the Program of its algorithm's file, asks the learner for one
iteration at a time, and keeps the run folder. `run` holds the actors, `run_record` writes, `acting`
has what a user asks of the policies, `evaluating` plays.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from actorrl.algorithms import described, evaluating, far_hosts, planning, restoring, resuming
from actorrl.algorithms.acting import policies_of
from actorrl.algorithms.changing import Changing
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.envs_measured import with_num_envs
from actorrl.algorithms.gradients import Gradients
from actorrl.algorithms.mirror import PolicyMirror
from actorrl.algorithms.run import Run
from actorrl.algorithms.run_record import RunName, RunRecord, make_folder, owned, user_loggers
from actorrl.algorithms.setup import Setup, acting_policy, as_config
from actorrl.algorithms.teaching import Teaching
from actorrl.algorithms.worker_set import WorkerSet
from actorrl.envs.check import EnvInfo
from actorrl.errors import EnvironmentFailure, RunFailed
from actorrl.experiment.run_folder import RunFolder
from actorrl.experiment.upload import Target, check_target
from actorrl.paths import expanded
from actorrl.policies.base import Policy
from actorrl.roles.worker_view import WorkerView
from actorrl.rollouts.callbacks import DefaultCallbacks
from actorrl.runtime.launchers import early
from actorrl.runtime.program import Program

__all__ = ["Algorithm", "Setup"]


class Algorithm(Changing):
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
        announce: bool = True,
        logger_creator: Callable[[dict[str, Any]], Any] | None = None,
        loggers: Sequence[Any] = (),
        upload_dir: Target | None = None,
        start: bool = True,
    ) -> None:
        """Check everything, make the run folder, start the actors (without `start` when they are
        first needed). `run_folder` goes on in an existing one; `announce` says on stderr how it
        starts; `loggers`, and what `logger_creator(settings)` returns, get each result (functions,
        or `on_result`); see Uploader for `upload_dir`. Raises ConfigError, EnvironmentFailure,
        RunFolderError, PlacementError before anything is created, RunFailed if none can start."""
        if results is not None:  # now: an environment may go to another directory
            results = expanded(results).absolute()
        self.config = as_config(type(self).config_class, config, env)
        self.config.__dict__["algorithm"] = type(self)
        self.name = type(self).__name__
        self.info = with_num_envs(self.config, restoring.checked(self.config))
        self.config.freeze()
        self.stop_criteria = dict(stop or {})
        self.run_id = early.run_id()
        self._seed = self.config.seed if self.config.seed is not None else secrets.randbits(31)
        self._check_placement()
        with self._hosts_ready():
            if announce:
                described.announce(self.name, self.config, self.info)
            own_loggers = user_loggers(loggers, logger_creator, self.config.to_dict())
            check_target(upload_dir)
            who = RunName(self.run_id, self.name, self.info.name)
            folder = run_folder or make_folder(who, name, results)
            with owned(folder, self.run_id):
                record = RunRecord(folder, who, keep, own_loggers, upload_dir)
                self._set_up(record, start)

    def _check_placement(self) -> None:
        planning.check_placement(type(self), self.config, self.info)

    @contextlib.contextmanager
    def _hosts_ready(self) -> Iterator[None]:
        """Made ready for their agents, and counted; those that carry none in the end are let go."""
        plan = functools.partial(planning.plan, type(self), self.config, self.info)
        self._launch = far_hosts.ready(self.config.cluster_spec(), plan)
        try:
            self.config = far_hosts.with_cores(self.config, self._launch)
            yield
        finally:
            if self._launch is not None:
                self._launch.close()

    def _set_up(self, record: RunRecord, start: bool) -> None:
        self._stopped = False
        self._evaluation: dict[str, Any] = {}
        self._callbacks = (self.config.callbacks_class or DefaultCallbacks)()
        self._prepare(record)
        if start:
            self._run.start()
        try:
            self._callbacks.on_algorithm_init(algorithm=self)
        except BaseException:
            self._run.stop(grace_s=0.0)
            raise

    def _prepare(self, record: RunRecord) -> None:
        """The run, for the first time or anew with other policies; nothing is started."""
        config, info = self.config, self.info
        recover = functools.partial(restoring.newest_learner_state, str(record.folder.path))
        program = planning.program_of(type(self), config, Setup(info, self._seed, recover))
        program.limit_progress(config.progress_limit_s)
        params = described.params(self.name, config, info, program, self._seed)
        record.folder.write_params({**params, "stop": self.stop_criteria, "keep": record.keep})
        self._run = run = Run(type(self), config, program, record, self._launch, info, self._about)
        acting = acting_policy(config, info, type(self).make_policy)
        policy = acting(self._seed, config.greediest_env())
        teaching = Teaching(config, info, program, run)
        gradients = Gradients(type(self), config, info, run, teaching)
        write = run.write_weights
        self._mirror = PolicyMirror(policy, lambda: run.weights, write, teaching, gradients)
        own = WorkerView(0, policies_of(self._mirror, info), learn=self.learn_on_batch)
        self._workers = WorkerSet(run.refs("rollout"), own)
        evaluators = run.refs(evaluating.ROLE)
        self._evaluations = evaluating.Evaluations(config, info, evaluators, self._mirror)

    @classmethod
    def plan(cls, config: AlgorithmConfig, info: EnvInfo | None = None) -> Program:
        """The Program of a run; starts nothing."""
        return planning.plan(cls, config, info)

    # ---- training -----------------------------------------------------------------------

    def train(self, *, stay: bool = False) -> dict[str, Any]:
        """One iteration; its result, which is also a row of result.json. `stay`: the actors go on
        after it, since the next call follows at once (the command line's loop)."""
        self._run.start()
        started = time.monotonic()
        if self._evaluates_after(self.training_iteration + 1):
            self._evaluations.begin()
        try:
            report = self._run.iterate(stay)
        except (RunFailed, EnvironmentFailure) as error:
            resuming.tell_newest(error, self._run.record.folder)
            raise
        return self._finish_row(report, started)

    def _evaluates_after(self, iteration: int) -> bool:
        interval = self.config.evaluation_interval
        return interval is not None and iteration % interval == 0

    def _finish_row(self, report: dict[str, Any], started: float) -> dict[str, Any]:
        run = self._run
        run.counters.training_iteration += 1
        run.reporter.add_episodes(report)
        if self._evaluates_after(self.training_iteration):
            self._evaluation = self.evaluate()
        self._evaluations.film_if_due(self.training_iteration, run.record.folder.videos)
        row = run.row(report, time.monotonic() - started)
        row["evaluation"] = self._evaluation
        recreated = run.recreated_workers()
        if recreated:
            self._callbacks.on_workers_recreated(
                algorithm=self, worker_set=self.workers, worker_ids=recreated, is_evaluation=False
            )
        self._callbacks.on_train_result(algorithm=self, result=row)
        run.record.write(row)
        run.record.save_recovery_if_due(run.state, self._about)
        run.write_status("running")
        return row

    def pause(self) -> dict[str, Any]:
        """No update is made until the next `train`; what the learner has done so far."""
        return self._run.pause()

    def finish(self) -> str:
        """Pause, write a last row if anything has happened since the last one, and a checkpoint of
        just that state; its path."""
        started = time.monotonic()
        report = self.pause()
        if self._run.reporter.is_new(report):
            self._finish_row(report, started)
        return self.save()

    # ---- evaluating ---------------------------------------------------------------------

    def evaluate(
        self,
        duration_fn: Callable[[int], int] | None = None,
        evaluation_fn: Callable[[Any, Any], Mapping[str, Any]] | None = None,
        *,
        episodes: int | None = None,
        steps: int | None = None,
        explore: bool | None = None,
    ) -> dict[str, Any]:
        """Play `episodes`, or so many env `steps`, on fixed seeds, with the newest weights; or what
        `evaluation_fn(algorithm, eval_workers)` returns, here or the config's
        `custom_evaluation_function`. `duration_fn(0)` is RLlib's way to say how many. Where
        evaluators play beside training, row n has what the weights at the beginning of iteration n
        have reached."""
        self._callbacks.on_evaluate_start(algorithm=self)
        custom = evaluation_fn or self.config.custom_evaluation_function
        if self.config.evaluation_num_workers:
            self._run.start()
        if custom is not None:
            metrics = self._evaluations.by_function(custom, self)
        else:
            duration = evaluating.duration_of(steps, episodes, duration_fn)
            metrics = self._evaluations.play(duration, explore)
        self._callbacks.on_evaluate_end(algorithm=self, evaluation_metrics=metrics)
        return metrics

    # ---- saving and restoring -----------------------------------------------------------

    def save(self, checkpoint_dir: str | Path | None = None) -> str:
        """Write a checkpoint; its path. Without a folder it goes into the run's `checkpoints/`."""
        state, iteration = self._run.state(), self.training_iteration
        return self._run.record.save(checkpoint_dir, iteration, state, self._about())

    def restore(self, checkpoint_path: str | Path, *, rewind: bool = False) -> None:
        """Go on from a checkpoint of the same algorithm and spaces. `rewind`: later rows go."""
        self.set_state(restoring.read_fitting(checkpoint_path, self._about()))
        if rewind:
            self._run.record.writer.rewind(self.training_iteration)
        self._callbacks.on_checkpoint_loaded(algorithm=self)

    def _about(self) -> dict[str, Any]:
        return restoring.about(self.config, self.info, self.training_iteration)

    @classmethod
    def from_checkpoint(cls, path: str | Path, env: Any = None, **options: Any) -> Self:
        """A new run that goes on from a checkpoint, with other `num_workers` or `num_learners`
        where given, and without GPUs where there are none. No process is started before the first
        `train()`, or call of a worker: acting and `evaluate` need none. `env` is needed where the
        checkpoint's environment cannot be imported."""
        algo = resuming.from_checkpoint(cls, path, env, options)
        assert isinstance(algo, cls)
        return algo

    # ---- the end ------------------------------------------------------------------------

    def stop(self, grace_s: float | None = None) -> list[int]:
        """End all processes of the run, see `Cluster.stop`; the pids that are left. Idempotent."""
        if self._stopped:
            return []
        self._stopped = True
        return self._run.stop(grace_s)

    cleanup = stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
