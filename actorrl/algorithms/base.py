"""Algorithm: what a user builds, trains, saves and stops. The command line uses this same object.

It lives in the driver. It starts the Program of its algorithm's file, asks the learner for one
iteration at a time, and keeps the run folder.
"""

from __future__ import annotations

import functools
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from actorrl.algorithms import bottleneck, naming
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.mirror import PolicyMirror
from actorrl.config import apply, to_plain
from actorrl.data.fragment import Episode
from actorrl.envs.check import EnvInfo, check_env
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.envs.registry import resolve
from actorrl.envs.vector import make_vector
from actorrl.errors import ActorDied, CheckpointError, ConfigError
from actorrl.experiment import provenance
from actorrl.experiment.checkpoints import (
    CheckpointKeeper,
    newest_whole,
    read_checkpoint,
    read_manifest,
    require,
    write_checkpoint,
)
from actorrl.experiment.results import ResultWriter
from actorrl.experiment.run_folder import RunFolder, default_name, default_results_dir
from actorrl.policies.base import Policy
from actorrl.rollouts import evaluation
from actorrl.rollouts.episodes import EpisodeWindow
from actorrl.roles.settings import LearnerSettings, MakeUpdate, State, WorkerSettings
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.program import Program
from actorrl.runtime.refs import NO_LIMIT

_POLL_S = 0.05
_STATE_TIMEOUT_S = 300.0
_EVALUATION_SEED = 20_000
_EVALUATION_ENVS = 20


class Setup(NamedTuple):
    """What an algorithm file's `program` gets beside its config."""

    info: EnvInfo
    seed: int
    recover: Any  # () -> the learner's state of the newest whole checkpoint, or None

    def workers(self, config: AlgorithmConfig) -> WorkerSettings:
        return WorkerSettings(
            env=self.info.env,
            env_config=config.env_config,
            num_workers=config.resolved_num_workers(),
            num_envs_per_worker=config.num_envs_per_worker,
            fragment_length=config.rollout_fragment_length,
            seed=self.seed,
            autoreset=config.autoreset,
        )

    def learner(
        self, config: AlgorithmConfig, make_update: MakeUpdate, **more: Any
    ) -> LearnerSettings:
        return LearnerSettings(
            make_update=make_update,
            train_batch_size=config.train_batch_size,
            num_gpus=config.num_gpus,
            num_threads=config.learner_threads(),
            recover=self.recover,
            **more,
        )


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
        """What one iteration needs: min_updates, min_env_steps, min_time_s."""
        return {
            "min_updates": 1,
            "min_env_steps": 0,
            "min_time_s": config.min_time_s_per_iteration,
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
        self.config = as_config(type(self).config_class, config, env)
        self.name = _name_of(type(self))
        self.info = checked(self.config)
        self.stop_criteria = dict(stop or {})
        self.run_id = secrets.token_hex(8)
        self._seed = self.config.seed if self.config.seed is not None else secrets.randbits(31)
        self._folder = run_folder or self._make_folder(name, results)
        self._folder.acquire(self.run_id)
        try:
            self._set_up(keep, resumed=run_folder is not None)
        except BaseException:
            self._folder.release()
            raise

    def _set_up(self, keep: int | None, resumed: bool) -> None:
        self._training_iteration = 0
        self._time_total_s = 0.0
        self._keeper = CheckpointKeeper(self._folder, keep)
        self._writer = ResultWriter(self._folder)
        self._worker_metrics: dict[str, dict[str, float]] = {}
        self._before = _Snapshot({}, {}, time.monotonic(), 0, 0)
        self._bottleneck = ""
        self._evaluation: dict[str, Any] = {}
        self._restarts_before = 0
        self._stopped = False
        config = self.config
        num_envs = config.resolved_num_workers() * config.num_envs_per_worker
        counts = type(self).counts_env
        self._window = EpisodeWindow(
            num_envs,
            config.metrics_num_episodes_for_smoothing,
            functools.partial(counts, config),
        )
        recover = functools.partial(_newest_learner_state, str(self._folder.path))
        program = type(self).program(config, Setup(self.info, self._seed, recover))
        self._inline = config.num_workers == 0
        self._folder.write_params(self._params(program))
        self._cluster = Cluster(
            program,
            launcher="inproc" if self._inline else "local",
            log_dir=self._folder.logs,
            on_event=self._on_event,
            on_report=self._on_report,
            run_id=self.run_id,
        )
        self._write_status("starting")
        self._cluster.start()
        self._learner = self._cluster.ref("learner/0")
        policy = type(self).make_policy(config, self.info, self._seed, np.arange(1))
        self._policy = PolicyMirror(
            policy, self._cluster.block_reader("weights"), self._write_weights
        )
        self._write_status("running")

    def _make_folder(self, name: str | None, results: str | Path | None) -> RunFolder:
        results = results if results is not None else default_results_dir()
        if name is not None:
            return RunFolder.create(results, name)
        base = default_name(self.name, self.info.name)
        taken = [p.name for p in Path(results).expanduser().glob(f"{base}*")]
        return RunFolder.create(results, f"{base}_{len(taken) + 1}" if taken else base)

    @classmethod
    def plan(cls, config: AlgorithmConfig) -> Program:
        """The Program of a run; starts nothing."""
        return cls.program(config, Setup(checked(config), config.seed or 0, lambda: None))

    # ---- training -----------------------------------------------------------------------

    def train(self, *, stay: bool = False) -> dict[str, Any]:
        """One iteration; its result, which is also a row of result.json. `stay`: the actors go on
        after it, since the next call follows at once (the command line's loop)."""
        started = time.monotonic()
        report = self._iterate(stay)
        self._training_iteration += 1
        self._window.add(Episode(int(i), float(r), int(n)) for i, r, n in report["episodes"])
        if self._due(self.config.evaluation_interval):
            self._evaluation = self.evaluate()
        elapsed = time.monotonic() - started
        self._time_total_s += elapsed
        row = self._row(report, elapsed)
        self._writer.write(row)
        if self._keeper.recovery_due(time.monotonic()):
            self._keeper.save_recovery(self._state(), self._about())
        self._write_status("running")
        return row

    def _iterate(self, stay: bool) -> dict[str, Any]:
        """Ask the learner, and watch over the run while it learns. If the learner dies, ask its
        successor, which goes on from the newest recovery checkpoint."""
        goal = type(self).iteration(self.config)
        while True:
            future = self._learner.train.within(NO_LIMIT).call(**goal, stay=stay)
            while not future.done():
                self._cluster.poll(_POLL_S)
            try:
                report: dict[str, Any] = future.result()
                return report
            except ActorDied:
                self._cluster.check()

    def _due(self, interval: int | None) -> bool:
        return interval is not None and self._training_iteration % interval == 0

    def _row(self, report: dict[str, Any], elapsed: float) -> dict[str, Any]:
        before, now = self._before, self._snapshot(report)
        seconds = max(1e-9, now.time - before.time)
        self._bottleneck = self._find_bottleneck(before, now, seconds)
        self._before = now
        summary = self._window.summary()
        counters = dict(report["counters"])
        row = {
            "training_iteration": self._training_iteration,
            "timesteps_total": report["timesteps_total"],
            **summary,
            "time_this_iter_s": elapsed,
            "time_total_s": self._time_total_s,
            "env_steps_per_s": (now.timesteps - before.timesteps) / max(1e-9, elapsed),
            "updates_per_s": (now.updates - before.updates) / max(1e-9, elapsed),
            "num_updates": report["num_updates"],
            "samples_per_insert": counters.pop("samples_per_insert", float("nan")),
            "policy_lag_mean": report["policy_lag_mean"],
            "policy_lag_max": report["policy_lag_max"],
            "num_healthy_workers": self._cluster.num_ready("rollout"),
            "num_restarts": self._restarts_before + self._cluster.num_restarts(),
            "policy_reward_mean": {"default_policy": summary["episode_reward_mean"]},
            "evaluation": self._evaluation,
            "info": {
                "learner": {**report["stats"], **counters},
                "timing": {
                    "learner": report["seconds"],
                    "rollout": self._mean_worker_metrics(),
                    "bottleneck": self._bottleneck,
                },
            },
        }
        return row

    def _snapshot(self, report: dict[str, Any]) -> _Snapshot:
        return _Snapshot(
            report["seconds"],
            self._mean_worker_metrics(),
            time.monotonic(),
            report["timesteps_total"],
            report["num_updates"],
        )

    def _mean_worker_metrics(self) -> dict[str, float]:
        """Seconds that the average worker has spent, by what it did."""
        rows = list(self._worker_metrics.values())
        keys = {key for row in rows for key in row if key.endswith("_s")}
        return {key: sum(row.get(key, 0.0) for row in rows) / len(rows) for key in sorted(keys)}

    def _find_bottleneck(self, before: _Snapshot, now: _Snapshot, seconds: float) -> str:
        workers = functools.partial(bottleneck.share, now.workers, before.workers)
        active = now.workers.get("total_s", 0.0) - before.workers.get("total_s", 0.0)
        return bottleneck.sentence(
            bottleneck.share(now.learner, before.learner, "wait_input_s", seconds),
            workers("wait_credit_s", seconds),
            workers("env_s", max(active, 1e-9)),
            self._inline,
        )

    def bottleneck(self) -> str:
        """One sentence: what the run waits for, and the setting that would move it."""
        return self._bottleneck

    # ---- looking and acting -------------------------------------------------------------

    @property
    def run_folder(self) -> str:
        """Path of the run folder."""
        return str(self._folder.path)

    logdir = run_folder

    @property
    def env_name(self) -> str:
        return self.info.name

    def get_policy(self, policy_id: str = "default_policy") -> PolicyMirror:
        """The policy with the newest weights; what is written to it reaches the learner."""
        if policy_id != "default_policy":
            raise KeyError(f"no policy {policy_id!r}: this run has 'default_policy'")
        return self._policy

    def compute_single_action(
        self,
        observation: Any,
        state: Any = None,
        *,
        explore: bool | None = None,
        full_fetch: bool = False,
        **ignored: Any,
    ) -> Any:
        """An action for one observation of the environment. With `state` (an LSTM's) or
        `full_fetch` a tuple (action, state, extras), as RLlib's."""
        obs = np.asarray(observation)
        if self.info.frame_stack == 1:
            obs = preprocessor_for(self.info.raw_observation_space).transform(obs[None])[0]
        greedy_default = False if explore is None else explore
        action, state_out, extras = self._policy.compute_single_action(
            obs, state, explore=greedy_default
        )
        return (action, state_out, extras) if full_fetch or state is not None else action

    def evaluate(self, *, episodes: int | None = None, explore: bool = False) -> dict[str, Any]:
        """Play episodes in the driver with the newest weights, on fixed seeds."""
        wanted = episodes or self.config.evaluation_duration
        policy = self._policy.refresh()
        return play_episodes(self.config, self.info, policy, wanted, explore)

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

    def restore(self, checkpoint_path: str | Path) -> None:
        """Continue from a checkpoint of the same algorithm and spaces."""
        manifest = read_manifest(checkpoint_path)
        about = self._about()
        expected = {key: about[key] for key in ("algo", "observation_space", "action_space")}
        require(checkpoint_path, manifest, **expected)
        self._load(read_checkpoint(checkpoint_path))

    def _state(self) -> State:
        return {
            "learner": self._learner.get_state.within(_STATE_TIMEOUT_S).call().result(),
            "window": self._window.state_dict(),
            "training_iteration": self._training_iteration,
            "time_total_s": self._time_total_s,
            "num_restarts": self._restarts_before + self._cluster.num_restarts(),
        }

    def _load(self, state: State) -> None:
        self._learner.set_state.within(_STATE_TIMEOUT_S).call(state["learner"]).result()
        self._window.load_state_dict(state["window"])
        self._training_iteration = int(state["training_iteration"])
        self._time_total_s = float(state["time_total_s"])
        self._restarts_before = int(state["num_restarts"])
        learner = state["learner"]
        self._before = _Snapshot(
            {}, {}, time.monotonic(), int(learner["timesteps_total"]), int(learner["num_updates"])
        )

    def _about(self) -> dict[str, Any]:
        config = to_plain(self.config)
        return {
            "algo": self.name,
            "env": naming.to_name(self.config.env),
            "config": {**config, "env": naming.to_name(self.config.env)},
            "observation_space": str(self.info.observation_space),
            "action_space": str(self.info.action_space),
            "training_iteration": self._training_iteration,
        }

    @classmethod
    def from_checkpoint(cls, path: str | Path, env: Any = None, **options: Any) -> Self:
        """A new run that goes on from a checkpoint. `env` is needed where the checkpoint's
        environment cannot be imported."""
        config = config_of_checkpoint(path, env)
        if not issubclass(config.algorithm, cls):
            raise CheckpointError(f"{path}: was trained by {config.algorithm.__name__}")
        algo = config.algorithm(config, **options)
        try:
            algo.restore(path)
        except BaseException:
            algo.stop()
            raise
        return algo  # type: ignore[return-value]

    @classmethod
    def resume(
        cls,
        folder: RunFolder,
        *,
        num_workers: int | None = None,
        stop: Mapping[str, Any] | None = None,
        env: Any = None,
    ) -> Algorithm:
        """Go on in the same run folder from its newest whole checkpoint."""
        owner = folder.driver_pid()
        if owner is not None:
            folder.acquire("")  # raises, naming the live driver
        path = newest_whole(folder)
        if path is None:
            raise CheckpointError(f"{folder.path}: this run has no whole checkpoint to go on from")
        config = config_of_checkpoint(path, env)
        if num_workers is not None:
            config.num_workers = num_workers
        criteria = stop if stop else folder.read_params().get("stop", {})
        algo = config.algorithm(config, stop=criteria, run_folder=folder)
        try:
            algo.restore(path)
            algo._writer.rewind(algo._training_iteration)
        except BaseException:
            algo.stop()
            raise
        return algo

    # ---- the end ------------------------------------------------------------------------

    def stop(self, grace_s: float = 10.0) -> list[int]:
        """End all processes of the run. Returns the pids that could not be ended. Idempotent."""
        if self._stopped:
            return []
        self._stopped = True
        left = self._cluster.stop(grace_s)
        self._write_status("stopped")
        self._folder.release()
        return left

    cleanup = stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # ---- the run folder -----------------------------------------------------------------

    def _params(self, program: Program) -> dict[str, Any]:
        config = {**to_plain(self.config), "env": naming.to_name(self.config.env)}
        return {
            "algo": self.name,
            "env": self.info.name,
            "config": config,
            "stop": self.stop_criteria,
            "seed": self._seed,
            "reproducible": "yes: synchronous"
            if self.config.reproducible
            else "not reproducible: asynchronous",
            "hosts": ["local"],
            "notices": self.info.notices,
            "program": str(program),
            "versions": provenance.versions(),
            "git_revision": provenance.git_revision(),
            "command_line": provenance.command_line(),
        }

    def _on_event(self, event: dict[str, Any]) -> None:
        details = {key: value for key, value in event.items() if key not in ("time", "event")}
        self._folder.append_event(event["event"], **details)

    def _on_report(self, link: str, source: str, body: dict[str, float]) -> None:
        self._worker_metrics[source] = body

    def _write_status(self, state: str) -> None:
        self._folder.write_status(
            {
                "run": self._folder.name,
                "run_id": self.run_id,
                "state": state,
                "driver_pid": os.getpid(),
                "algo": self.name,
                "env": self.info.name,
                "training_iteration": self._training_iteration,
                "timesteps_total": self._before.timesteps,
                "actors": self._cluster.status(),
            }
        )

    def _write_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        self._learner.set_weights.call(dict(weights)).result()


class _Snapshot(NamedTuple):
    """Totals at the end of an iteration; the next one is measured against them."""

    learner: Mapping[str, float]  # seconds
    workers: Mapping[str, float]  # seconds of the average worker
    time: float
    timesteps: int
    updates: int


def _name_of(cls: type[Algorithm]) -> str:
    return cls.__name__.upper()


def as_config(
    config_class: type[AlgorithmConfig],
    config: AlgorithmConfig | dict[str, Any] | None,
    env: Any,
) -> AlgorithmConfig:
    """RLlib's ways to say it: a config object, a dict, or nothing, and `env` beside it."""
    if config is None or isinstance(config, dict):
        config = config_class().update_from_dict(config or {})
    elif not isinstance(config, config_class):
        raise ConfigError(f"config: {type(config).__name__} is not {config_class.__name__}")
    if env is not None:
        config.env = env
    return config


def checked(config: AlgorithmConfig) -> EnvInfo:
    """All that can be said before anything starts. Raises ConfigError, EnvironmentFailure."""
    errors = config.validate()
    if config.env is None:
        errors.append("env: missing, expected an environment, for instance 'CartPole-v1'")
    if errors:
        raise ConfigError(errors)
    return check_env(config.env, config.env_config)


def config_of_checkpoint(path: str | Path, env: Any = None) -> AlgorithmConfig:
    """The config that a checkpoint was trained with."""
    from actorrl.algorithms.registry import config_class

    about = read_manifest(path).about
    if not isinstance(about.get("config"), dict) or "algo" not in about:
        raise CheckpointError(f"{path}: says nothing of its algorithm and config")
    config = config_class(about["algo"])()
    settings = dict(about["config"])
    name = settings.pop("env")
    errors = apply(config, settings)
    if errors:
        raise CheckpointError(f"{path}: its config does not fit: {'; '.join(errors)}")
    config.env = naming.from_name(name, env)
    return config


def play_episodes(
    config: AlgorithmConfig, info: EnvInfo, policy: Any, episodes: int, explore: bool
) -> dict[str, Any]:
    """Whole episodes on fixed seeds: the same weights give the same numbers."""
    vector = make_vector(
        resolve(config.env).env,
        config.env_config,
        min(episodes, _EVALUATION_ENVS),
        seed=_EVALUATION_SEED,
    )
    try:
        return evaluation.summary(evaluation.play(vector, policy, episodes, explore))
    finally:
        vector.close()


def evaluate_checkpoint(
    path: str | Path, *, episodes: int, explore: bool = False, env: Any = None
) -> dict[str, Any]:
    """Play with a checkpoint's policy, in this process alone."""
    config = config_of_checkpoint(path, env)
    info = checked(config)
    about = read_manifest(path)
    require(
        path,
        about,
        observation_space=str(info.observation_space),
        action_space=str(info.action_space),
    )
    policy = config.algorithm.make_policy(config, info, 0, np.arange(1))
    policy.load_flat(read_checkpoint(path)["learner"]["weights"], version=1)
    return play_episodes(config, info, policy, episodes, explore)


def _newest_learner_state(folder: str) -> State | None:
    """Called in the learner's process after a restart."""
    path = newest_whole(RunFolder.open(folder))
    return read_checkpoint(path)["learner"] if path is not None else None
