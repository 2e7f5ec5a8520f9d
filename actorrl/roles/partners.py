"""The lead's side of several learners: it cuts each batch, and its partners learn with it.

A batch is learned by a *generation*: the lead (rank 0) and the partners that were free when it
began, who all had the lead's whole state then and have taken the same steps since. The lead asks
each partner over link `shares`, one request at a time: first whether it is there, then to learn its
share. It begins no batch before the partners of the last one have answered (`are_free`), and the
first one not before all partners are there, so that runs repeat; but it waits `PATIENCE_S` at most.

When a partner dies, or its state cannot be the lead's any more, the generation ends, and the lead
finishes the batch with its own rows: the partners' rows of that batch are lost, and counted. The
next batch begins a new generation with all who are free; who was started again gets the lead's
state with its share. Should nobody be free, or the batch have nothing for everybody, the lead
learns alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from torch import Tensor

from actorrl.models.group import ALONE
from actorrl.policies.policy_map import SEPARATOR
from actorrl.roles.learner_group import TIMEOUT_S, GroupLost, LearnerGroup
from actorrl.roles.settings import Metrics, State, Update
from actorrl.roles.shares import by_policy, cut, num_rows, to_arrays
from actorrl.runtime.context import Context
from actorrl.runtime.links import Item

PATIENCE_S = TIMEOUT_S  # with partners that are up and do not answer
LOOK_S = 1.0  # how often it is looked for them


class Partners:
    """Stands where the learner's update does. Everything here runs on the lead's main thread."""

    def __init__(
        self,
        context: Context,
        update: Update,
        device: str,
        num_gpus: float,
        state: Callable[[], State],
        freed: Callable[[], None],
    ) -> None:
        """`state()` is what a partner goes on from; `freed()` is called when `are_free` may have
        become true."""
        self._context = context
        self._requests = context.requests("shares")
        self._update = update
        self._device = device
        self._whole_gpu = num_gpus >= 1
        self._state = state
        self._freed = freed
        self._awaited = set(self._requests.targets)
        self._asked_at = time.monotonic()
        self._free: set[str] = set()
        self._members: list[str] = []  # of the generation, in the order of their ranks
        self._group: LearnerGroup | None = None
        self._generation = 0
        self.num_rows_lost = 0
        for partner in self._requests.targets:
            self._requests.ask(partner)
        context.every(LOOK_S, self._look)

    # ---- who is there -------------------------------------------------------------------

    def are_free(self) -> bool:
        """Whether a batch can be begun."""
        return not self._awaited

    def _look(self) -> None:
        """Whether those who are awaited take too long: nobody is, from now on."""
        if self._awaited and time.monotonic() - self._asked_at >= PATIENCE_S:
            self._context.event("partners_late", learners=sorted(self._awaited))
            self._give_up()
            self._freed()

    def answered(self, item: Item) -> None:
        item.release()  # so that it may be asked again at once
        self._awaited.discard(item.source)
        self._free.add(item.source)
        self._freed()

    def changed(self, partner: str, num_lost: int) -> None:
        """It died, or is back: then it is asked whether it is ready, but nobody waits for that."""
        if num_lost or partner not in self._requests.up():
            self._awaited.discard(partner)
        self._free.discard(partner)
        if partner in self._members:
            self.end_generation()
        self._requests.ask(partner)
        self._freed()

    def end_generation(self) -> None:
        """The partners' state is not the lead's any more."""
        if self._group is not None:
            self._group.close()
        self._group, self._members = None, []
        self._update.policy.group = ALONE

    # ---- a batch ------------------------------------------------------------------------

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        """Learn from it, with everybody who is free; metrics of all rows."""
        members = [partner for partner in self._requests.targets if partner in self._free]
        shares = cut(batch, 1 + len(members)) if members else None
        if shares is None or not self._share_out(members, shares[1:], timesteps):
            self._give_up()
            return self._update(batch, timesteps)
        assert self._group is not None
        metrics = learn_share(self._update, self._group, shares[0], timesteps)
        if self._group.is_lost:
            self._count_loss(shares[1:])
        return metrics

    def _share_out(
        self, members: list[str], shares: list[dict[str, Tensor]], timesteps: int
    ) -> bool:
        """False if a partner does not come; then no row is lost."""
        begins = self._group is None or members != self._members
        if begins:
            self.end_generation()
            self._generation += 1
        body = {
            "generation": self._generation,
            "timesteps": timesteps,
            "filter": self._update.policy.filter_state(),
        }
        if begins:
            body |= {"size": 1 + len(members), "store": str(self._store()), "state": self._state()}
        self._asked_at = time.monotonic()
        for rank, (partner, share) in enumerate(zip(members, shares, strict=True), start=1):
            self._free.discard(partner)
            if not self._requests.ask(partner, {**body, "rank": rank}, to_arrays(share)):
                return False
            self._awaited.add(partner)
        return self._meet(members) if begins else True

    def _meet(self, members: list[str]) -> bool:
        try:
            self._group = LearnerGroup(
                self._store(), 0, 1 + len(members), self._device, self._whole_gpu
            )
        except GroupLost:
            return False
        self._members = members
        self._update.policy.group = self._group
        self._context.event("learners_met", learners=members, generation=self._generation)
        return True

    def _store(self) -> Path:
        """Where this generation meets; a lead's successor has files of its own."""
        name = f"learners-{self._context.incarnation}-{self._generation}"
        return self._context.directory / name

    def _count_loss(self, shares: list[dict[str, Tensor]]) -> None:
        lost = sum(num_rows(part) for share in shares for part in by_policy(share).values())
        self.num_rows_lost += lost
        self._context.event("shares_lost", learners=self._members, rows=lost)
        self._give_up()

    def _give_up(self) -> None:
        """Who has been asked may answer when it will; nobody waits for it."""
        self._awaited.clear()
        self.end_generation()

    def counters(self) -> dict[str, float]:
        """For the result's `info.learner`."""
        return {"num_learners": 1 + len(self._members), "num_rows_lost": self.num_rows_lost}


# ---- lead and partners alike -----------------------------------------------------------------


def load(update: Update, state: State) -> None:
    """Go on from what a learner's `get_state` returned."""
    update.policy.flat.load(state["weights"])
    update.policy.load_filter_state(state.get("filter") or {})
    update.load_state_dict(state["update"])


def learn_share(
    update: Update, group: LearnerGroup, share: dict[str, Tensor], timesteps: int
) -> Metrics:
    """One update from a learner's share; metrics are means over everybody's, weighed by the rows
    of the policy that each is of, but of those by the name "..._max" the largest. Where the user's
    callbacks have put others into them than a partner's have, they are the lead's own."""
    metrics = update(share, timesteps)
    if not group.agrees("\n".join(metrics)):
        return metrics
    rows = {prefix: num_rows(part) for prefix, part in by_policy(share).items()}
    weights = torch.tensor([float(rows[_whose(n, rows)]) for n in metrics], dtype=torch.float64)
    values = torch.tensor([float(value) for value in metrics.values()], dtype=torch.float64)
    weighted, total = group.sum(torch.stack([weights * values, weights]))
    found = weighted / total.clamp(min=1)
    is_largest = torch.tensor([name.endswith("_max") for name in metrics])
    if is_largest.any():
        found = torch.where(is_largest, group.each(values).amax(dim=0), found)
    return dict(zip(metrics, found.tolist(), strict=True))


def _whose(name: str, rows: Collection[str]) -> str:
    """Which of "policy/" a metric is of; "" where there is one policy, whatever it is called."""
    return "" if "" in rows else f"{name.partition(SEPARATOR)[0]}{SEPARATOR}"
