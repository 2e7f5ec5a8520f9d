"""Result rows: what the learner reports of an iteration, and what workers have sent meanwhile."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from actorrl import copies
from actorrl.algorithms import bottleneck
from actorrl.data.fragment import Episode
from actorrl.rollouts.episodes import EpisodeWindow, custom_metrics


class _Totals(NamedTuple):
    """Where everything stood at the end of an iteration; the next one is measured against it."""

    learner: Mapping[str, float]  # seconds
    workers: Mapping[str, float]  # seconds of the average worker
    time: float
    timesteps: int
    updates: int
    replay_size: int = 0  # of all shards


class Reporter:
    """Keeps the episode window and the totals of the last row. Used by the driver's thread."""

    def __init__(self, window: EpisodeWindow, inline: bool, num_shards: int = 0) -> None:
        self.window = window
        self._num_shards = num_shards
        self.bottleneck = ""
        self._inline = inline
        self._custom_metrics: dict[str, float] = {}
        self._workers: dict[str, Mapping[str, Any]] = {}
        self._last = _Totals({}, {}, time.monotonic(), 0, 0)

    @property
    def timesteps_total(self) -> int:
        """Of the last row."""
        return self._last.timesteps

    def lost_at_least(self, event: dict[str, Any]) -> dict[str, Any]:
        """An event of a loss that nobody could count, since the notes of who died went with its
        host: by what the last row told. Other events as they are."""
        last = self._last
        if event.get("exact", True):
            return event
        if event["event"] == "learner_recovered":
            updates = max(0, last.updates - event["num_updates"])
            timesteps = max(0, last.timesteps - event["timesteps_total"])
            return event | {"updates_lost": updates, "timesteps_lost": timesteps}
        if event["event"] == "rows_lost":
            return event | {"rows": last.replay_size // self._num_shards}
        return event

    def is_new(self, report: Mapping[str, Any]) -> bool:
        """Whether anything was learned or sampled since the last row."""
        now = (report["timesteps_total"], report["num_updates"])
        return now != (self._last.timesteps, self._last.updates)

    def on_worker_report(self, link: str, source: str, body: Mapping[str, Any]) -> None:
        """A worker's totals since its start."""
        self._workers[source] = body

    def continue_from(self, timesteps: int, updates: int) -> None:
        """A checkpoint was loaded: the next row counts from its numbers."""
        self._last = _Totals({}, {}, time.monotonic(), timesteps, updates)

    def add_episodes(self, report: Mapping[str, Any]) -> None:
        """To the window, and their custom metrics to the next row."""
        episodes = [Episode.from_row(row) for row in report["episodes"]]
        self.window.add(episodes)
        self._custom_metrics = custom_metrics(episodes)

    def row(self, report: Mapping[str, Any], elapsed: float) -> dict[str, Any]:
        """The learner's and workers' part of a result row; `elapsed` seconds since the last."""
        now = _Totals(
            report["seconds"],
            self._mean_worker_seconds(),
            time.monotonic(),
            report["timesteps_total"],
            report["num_updates"],
            int(report["counters"].get("replay_size", 0)),
        )
        last, self._last = self._last, now
        self.bottleneck = self._find_bottleneck(last, now)
        summary = self.window.summary()
        counters = dict(report["counters"])
        elapsed = max(elapsed, 1e-9)
        return {
            "timesteps_total": now.timesteps,
            **summary,
            "env_steps_per_s": (now.timesteps - last.timesteps) / elapsed,
            "updates_per_s": (now.updates - last.updates) / elapsed,
            "num_updates": now.updates,
            "samples_per_insert": counters.pop("samples_per_insert", float("nan")),
            "policy_lag_mean": report["policy_lag_mean"],
            "policy_lag_max": report["policy_lag_max"],
            "custom_metrics": self._custom_metrics,
            "info": {
                "episode_reward_mean_all": self.window.mean_of_all(),
                "learner": {**report["stats"], **counters},
                "timing": {
                    "learner": dict(now.learner),
                    "rollout": dict(now.workers),
                    "bottleneck": self.bottleneck,
                },
                **self._copies(report),
            },
        }

    def _copies(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """How often observations were copied on their way, where that is counted."""
        if "copies" not in report:
            return {}
        workers = [row for row in self._workers.values() if "copies" in row]
        sampled = sum(row["num_env_steps"] for row in workers)
        by_workers = copies.per_stage(copies.merged(row["copies"] for row in workers), sampled)
        by_learner = copies.per_stage(report["copies"], report["timesteps_total"])
        return {"copies": copies.summary({**by_workers, **by_learner})}

    def _mean_worker_seconds(self) -> dict[str, float]:
        rows = list(self._workers.values())
        keys = {key for row in rows for key in row if key.endswith("_s")}
        return {key: sum(row.get(key, 0.0) for row in rows) / len(rows) for key in sorted(keys)}

    def _find_bottleneck(self, last: _Totals, now: _Totals) -> str:
        seconds = now.time - last.time
        workers = functools.partial(bottleneck.share, now.workers, last.workers)
        sampling_s = now.workers.get("total_s", 0.0) - last.workers.get("total_s", 0.0)
        return bottleneck.sentence(
            bottleneck.share(now.learner, last.learner, "wait_input_s", seconds),
            workers("wait_credit_s", seconds),
            workers("env_s", sampling_s),
            self._inline,
        )
