"""What all learners share: updates, versions, counts, and the driver's iterations.

A learner learns only while the driver has an iteration open (`train`), so between two calls of
`train()` the run stands still by itself: no credit goes back, no request goes out. Everything here
runs on the actor's main thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actorrl import copies
from actorrl.errors import ActorRLError
from actorrl.roles import divergence, torch_setup
from actorrl.roles.iteration import Iteration, Tally, scalars
from actorrl.roles.partners import Partners, load
from actorrl.roles.phases import Phases
from actorrl.roles.published_weights import PublishedWeights
from actorrl.roles.settings import (
    Arrays,
    Body,
    LearnerSettings,
    Metrics,
    Recovery,
    State,
    Update,
)
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.links import Item
from actorrl.runtime.mailbox import Later


class NotRestored(ActorRLError):
    """The learner was started again where it cannot read its checkpoint: the driver has to bring it
    (`recover`) before it is asked for anything."""


class Learner(Actor):
    """Base of the learners. Subclasses gather batches and call `learn`."""

    def __init__(self, settings: LearnerSettings) -> None:
        self.settings = settings

    def on_start(self) -> None:
        settings = self.settings
        self.device = torch_setup.for_learning(
            settings.num_threads, settings.num_gpus, self.context.inline
        )
        self.phases = Phases(self.context.inline)
        copies.clear()
        self.update: Update = settings.make_update(self.device)
        self.tally = Tally(self.context.note)
        self.weights = PublishedWeights(
            self.context, self.update.policy, settings.min_publish_interval_s
        )
        self._partners: Partners | None = None
        if self.context.has_link("shares"):
            self._partners = Partners(
                self.context,
                self.update,
                self.device,
                settings.num_gpus,
                state=self.get_state,
                freed=self._go_on,
            )
        self.iteration: Iteration | None = None
        self.learning = False
        self._has_recovered = False
        self._awaits_state = False
        if self.context.incarnation > 1:
            found = settings.recover()
            self._awaits_state = found is not None and not found.is_here
            if found is not None and found.is_here:
                self._recover(found)
        if not self._awaits_state:  # what its predecessor has published is better than untrained
            self._publish()

    # ---- the driver's calls -------------------------------------------------------------

    @remote
    def train(
        self, min_updates: int, min_env_steps: int, min_time_s: float, stay: bool = False
    ) -> Later:
        """Learn until at least so much is done, then answer with what happened. `stay`: go on
        learning after the answer, since the next call follows at once."""
        self._check_restored()
        later = Later()
        self.iteration = Iteration(
            self.tally.num_updates + min_updates,
            self.tally.timesteps_total + min_env_steps,
            time.monotonic() + min_time_s,
            stay,
            later,
        )
        self.learning = True
        self.resume()
        return later

    @remote
    def pause(self) -> Body:
        """Learn no more until the next `train`; what was done since the last report."""
        self._check_restored()
        self.iteration = None
        if self.learning:
            self.learning = False
            self._publish()
        return self._report()

    @remote
    def set_weights(self, weights: dict[str, np.ndarray]) -> int:
        """Replace the policy's weights by name; the version under which workers get them."""
        self._check_restored()
        self.update.policy.set_weights(weights)
        self._end_generation()
        self._publish()
        return self.weights.version

    @remote
    def learn_on_batch(self, columns: Arrays) -> dict[str, float]:
        """One update of a batch that the driver has made, published at once; its metrics. No env
        step is counted."""
        self._check_restored()
        metrics = self.teach(columns)
        self._publish()
        return scalars(metrics)

    @remote
    def apply_gradients(self, gradient: np.ndarray) -> dict[str, float]:
        """A step of each optimizer along its part of a gradient [P] that was made elsewhere,
        published at once; its metrics. None moves by momentum alone."""
        self._check_restored()
        started = time.monotonic()
        policy: Any = self.update.policy
        policy.set_flat_gradient(gradient)
        stepped: Metrics = {}
        for optimizer in policy.optimizers:
            if optimizer.has_gradient():
                stepped |= optimizer.step(self.tally.timesteps_total)
        self._end_generation()
        self.finish_update(stepped, started)
        self._publish()
        return scalars(stepped)

    # ---- its state, and the way back ----------------------------------------------------

    @remote
    def get_state(self) -> State:
        """Everything a checkpoint needs of this learner."""
        self._check_restored()
        return {
            "update": self.update.state_dict(),
            "weights": self.update.policy.flat_weights(),
            "filter": self.update.policy.filter_state(),
            "num_updates": self.tally.num_updates,
            "timesteps_total": self.tally.timesteps_total,
            "epoch": self.weights.epoch,
            "random": self.random_state(),
        }

    @remote
    def set_state(self, state: State) -> None:
        """Continue from `get_state`; publishes the weights under a new version and epoch."""
        self._awaits_state = False
        self._load(state)
        self._publish()

    def _load(self, state: State) -> None:
        load(self.update, state)
        self._end_generation()
        self.tally.go_on_from(int(state["num_updates"]), int(state["timesteps_total"]))
        self.weights.begin_epoch(int(state.get("epoch", 0)) + 1)
        if state.get("random"):
            self.set_random_state(state["random"])

    @remote
    def recover(
        self, state: State | None, checkpoint: str | None, damaged: list[str], epoch: int
    ) -> None:
        """Go on from a checkpoint that the driver has read, unless the learner has done so: on
        another host it could not."""
        if not self._has_recovered:
            self._recover(Recovery(state, checkpoint, damaged, epoch))
            self._publish()

    def _recover(self, found: Recovery) -> None:
        """Go on from the newest whole checkpoint, if there is one; say what is lost."""
        self._has_recovered = True
        self._awaits_state = False
        if found.state is not None:
            self._load(found.state)
        self.weights.begin_epoch(found.epoch)
        tally = self.tally
        notes = self.context.notes_of_predecessor(2)
        updates, timesteps = notes or (0, 0)
        self.context.event(
            "learner_recovered",
            checkpoint=found.checkpoint,
            damaged=found.damaged,
            epoch=self.weights.epoch,
            exact=notes is not None,  # else the driver says what its rows had told at least
            num_updates=tally.num_updates,
            timesteps_total=tally.timesteps_total,
            updates_lost=max(0, updates - tally.num_updates),
            timesteps_lost=max(0, timesteps - tally.timesteps_total),
        )

    def _check_restored(self) -> None:
        if self._awaits_state:
            raise NotRestored("the learner was started again and has not got its checkpoint yet")

    # ---- other learners of the run ------------------------------------------------------

    def can_learn(self) -> bool:
        """Whether a batch may be learned from now: partners, where there are any, are free."""
        return self.learning and (self._partners is None or self._partners.are_free())

    def on_shares(self, item: Item) -> None:
        assert self._partners is not None
        self._partners.answered(item)

    def lost_shares(self, partner: str, num_lost: int) -> None:
        assert self._partners is not None
        self._partners.changed(partner, num_lost)

    def _go_on(self) -> None:
        """Learners may be free."""
        if self.learning:
            self.resume()

    def _end_generation(self) -> None:
        """Weights or more have changed otherwise than by learning."""
        if self._partners is not None:
            self._partners.end_generation()

    # ---- learning, called by subclasses -------------------------------------------------

    def too_stale(self, policy_version: int) -> bool:
        """Count a fragment's lag; True if it is beyond `max_policy_lag` and must be dropped."""
        lag = max(0, self.weights.version - policy_version)
        limit = self.settings.max_policy_lag
        if limit is not None and lag > limit:
            self.tally.num_dropped_stale += 1
            return True
        self.tally.count_lag(lag)
        return False

    def teach(self, columns: Arrays) -> Metrics:
        """The update of a batch as workers send it."""
        return self.learn(
            {name: torch.from_numpy(np.array(x)).to(self.device) for name, x in columns.items()}
        )

    def learn(self, batch: dict[str, Tensor]) -> Metrics:
        """One update and a new version."""
        started = time.monotonic()
        self.phases.lap("gather")
        update = self.update if self._partners is None else self._partners
        metrics = update(batch, self.tally.timesteps_total)
        self.update.policy.note_observations(batch)
        self.finish_update(metrics, started, batch)
        return metrics

    def finish_update(
        self, metrics: Metrics, started: float, batch: Mapping[str, Tensor] | None = None
    ) -> None:
        """After the weights have changed: check, count, publish."""
        numbers = scalars(metrics)
        divergence.check(numbers, self.tally.num_updates + 1, batch)
        self.tally.count_update(numbers, time.monotonic() - started)
        self.phases.lap("update")
        if self.weights.are_due():
            self._publish()
        else:
            self.weights.skip()

    def _publish(self) -> None:
        started = time.monotonic()
        self.phases.lap("runtime")
        self.weights.publish(self.tally.timesteps_total)
        self.tally.seconds["publish_s"] += time.monotonic() - started
        self.phases.lap("weights")

    def end_iteration_if_complete(self) -> None:
        """To be called after each update."""
        iteration = self.iteration
        if iteration is None or not iteration.complete(self.tally):
            return
        self.iteration = None
        self.learning = iteration.stay
        if not self.learning:
            self._publish()  # what follows (evaluation, get_policy) sees the last update
        iteration.later.resolve(self._report())

    def _report(self) -> Body:
        report = {
            **self.tally.take(),
            "policy_version": self.weights.version,
            "counters": {
                "num_dropped_stale": self.tally.num_dropped_stale,
                "epoch": self.weights.epoch,
                **self.counters(),
                **(self._partners.counters() if self._partners is not None else {}),
            },
            "seconds": {
                **self.tally.seconds,
                **self.phases.report(),
                **{f"wait_{name}_s": s for name, s in self.context.waits.items()},
            },
        }
        if copies.COUNTING:
            report["copies"] = self.copies_counted()
        return report

    # ---- what a subclass may define -----------------------------------------------------

    def resume(self) -> None:
        """An iteration has begun, or a partner is free: take up what was left lying."""

    def random_state(self) -> str:
        """Of a subclass that draws, as JSON text."""
        return ""

    def set_random_state(self, state: str) -> None:
        """The inverse."""

    def copies_counted(self) -> copies.Totals:
        """Of this process, and of those that report to it."""
        return copies.totals()

    def counters(self) -> dict[str, float]:
        """Counts of a subclass for the result's `info.learner`."""
        return {}
