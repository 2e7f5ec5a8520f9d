"""The worker of ES and ARS: plays both mirror images of each noise that it is told the seed of.

Only seeds come and only returns go, besides the moments of observations for the filter: a message
does not grow with the network.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from actorrl.envs.vector import VectorEnv
from actorrl.policies.evolution import EvolutionPolicy, perturbation
from actorrl.roles.awaited_weights import AwaitedWeights
from actorrl.roles.rollout_worker import Sampling, SamplingActor
from actorrl.roles.settings import Arrays, Body, MakePolicy, WorkerSettings
from actorrl.rollouts.population import Played, Population
from actorrl.runtime.links import Asked

_REPORT_S = 1.0

# Columns of an answer, n pairs of the request.
SEEDS = "seeds"  # [n] int64
RETURNS = "returns"  # [n, 2]: noise added, noise subtracted
ROWS, MEAN, SQUARES = "rows", "mean", "squares"  # [1, ...] each: moments of observations


class EvolutionWorker(SamplingActor):
    """See the module. First come `num_plain` episodes of the policy as it is: they are what is
    reported."""

    def __init__(
        self, settings: WorkerSettings, make_policy: MakePolicy, noise_stddev: float, num_plain: int
    ) -> None:
        self._settings = settings
        self._make_policy = make_policy
        self._stddev = noise_stddev
        self._num_plain = num_plain

    def on_start(self) -> None:
        self._sampling = Sampling(self, self._settings, self._make_policy)
        self._requests = AwaitedWeights(self.context, self._sampling.refresh, self._answer)
        self._policy = cast(EvolutionPolicy, self._sampling.policy)
        env = cast(VectorEnv, self._sampling.env)
        self._population = Population(env, self._policy)
        report = self.context.report("metrics")
        self.context.every(_REPORT_S, lambda: report.send(self._metrics()))

    def _metrics(self) -> Body:
        return {
            "num_env_steps": self._population.num_steps_total,
            **self._population.timers,
            **{f"wait_{name}_s": seconds for name, seconds in self.context.waits.items()},
        }

    def serve_samples(self, request: Asked) -> None:
        self._requests.serve(request)

    def _answer(self, request: Asked) -> None:
        seeds = np.asarray(request.body["seeds"], np.int64)
        played = self._play(seeds)
        request.respond(self._body(request.body, played), self._arrays(seeds, played))

    def _play(self, seeds: np.ndarray) -> Played:
        """Candidates: the plain ones, then noise added and subtracted for each seed."""
        size = len(self._policy.parameters)

        def candidate(number: int) -> np.ndarray:
            pair, mirrored = divmod(number - self._num_plain, 2)
            if pair < 0:
                return self._policy.parameters
            noise = perturbation(int(seeds[pair]), size) * np.float32(self._stddev)
            return self._policy.parameters + (-noise if mirrored else noise)

        count = self._num_plain + 2 * len(seeds)
        return self._population.play(candidate, count, int(seeds[0]), self._num_plain)

    def _body(self, asked: Body, played: Played) -> Body:
        """Plain episodes under this worker's first environment, the others under none."""
        first, nobody = self.context.index * self._settings.num_envs_per_worker, -1
        return {
            "num_env_steps": int(played.lengths.sum()),
            "policy_version": self._policy.version,
            "episodes": [
                [first if i < self._num_plain else nobody, float(r), int(n)]
                for i, (r, n) in enumerate(zip(played.returns, played.lengths, strict=True))
            ],
        }

    def _arrays(self, seeds: np.ndarray, played: Played) -> Arrays:
        observed = played.observed
        return {
            SEEDS: seeds,
            RETURNS: played.returns[self._num_plain :].reshape(-1, 2),
            ROWS: np.array([observed.count]),
            MEAN: observed.mean[None],
            SQUARES: observed.m2[None],
        }
