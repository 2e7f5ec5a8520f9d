"""Which part of a run the others wait for, from measured waiting times: one sentence that ends in
the setting that would move it."""

from __future__ import annotations

from collections.abc import Mapping

_MUCH = 0.25  # of the time: below that nobody waits worth speaking of


def share(now: Mapping[str, float], before: Mapping[str, float], key: str, seconds: float) -> float:
    """The share of `seconds` that the counter `key` grew by, within 0..1."""
    if seconds <= 0:
        return 0.0
    return min(1.0, max(0.0, (now.get(key, 0.0) - before.get(key, 0.0)) / seconds))


def sentence(learner_waits: float, workers_wait: float, env_share: float, inline: bool) -> str:
    """`learner_waits`: share of the time without a batch; `workers_wait`: without credit;
    `env_share`: of the workers' time, spent inside the environment."""
    if inline:
        return "one process does everything: use more with --workers"
    if learner_waits >= max(_MUCH, workers_wait):
        if env_share > 0.8:
            return (
                f"learner waits {learner_waits:.0%} for samples, workers are {env_share:.0%} in the"
                " environment: add rollout workers (--workers)"
            )
        return f"learner waits {learner_waits:.0%} for samples: add rollout workers (--workers)"
    if workers_wait >= _MUCH:
        return (
            f"workers wait {workers_wait:.0%} for the learner: give it threads"
            " (--set num_learner_threads=N) or a GPU (--set num_gpus=1)"
        )
    return "balanced: neither learner nor workers wait much"
