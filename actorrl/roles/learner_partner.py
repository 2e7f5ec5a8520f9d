"""A learner beside the lead, on the same host: it learns its share of each batch with the lead.

It does the same update as the lead (`partners.py`), whose steps agree to the last bit, since all
gradients are the group's. It publishes nothing and keeps nothing: whatever happens to it, its
successor gets the lead's state.
"""

from __future__ import annotations

from pathlib import Path

from actorrl.roles import torch_setup
from actorrl.roles.learner_group import GroupLost, LearnerGroup
from actorrl.roles.partners import learn_share, load
from actorrl.roles.settings import Body, LearnerSettings
from actorrl.roles.shares import to_tensors
from actorrl.runtime.actor import Actor
from actorrl.runtime.links import Asked


class LearnerPartner(Actor):
    """Answers link `shares`."""

    def __init__(self, settings: LearnerSettings) -> None:
        self.settings = settings

    def on_start(self) -> None:
        settings = self.settings
        self.device = torch_setup.for_learning(
            settings.num_threads, settings.num_gpus, self.context.inline
        )
        self.update = settings.make_update(self.device)
        self._group: LearnerGroup | None = None
        self._generation: tuple[int, int] | None = None  # the lead's incarnation, and its number

    def serve_shares(self, asked: Asked) -> None:
        """An empty request asks whether we are there."""
        if asked.body is not None:
            try:
                self._learn(asked)
            except GroupLost as lost:  # the lead goes on, and says with what we begin anew
                print(f"a share is given up: {lost}", flush=True)
                self._leave()
        asked.respond(None)

    def _learn(self, asked: Asked) -> None:
        body = asked.body
        if "state" in body:
            self._begin(asked.incarnation, body)
        if self._group is None or self._generation != (asked.incarnation, body["generation"]):
            return  # meant for our predecessor, who is known to be gone by now
        self.update.policy.load_filter_state(body["filter"])
        share = to_tensors(asked.arrays, self.device)
        learn_share(self.update, self._group, share, body["timesteps"])

    def _begin(self, lead: int, body: Body) -> None:
        """A new generation, with the lead's state."""
        self._leave()
        load(self.update, body["state"])
        whole_gpu = self.settings.num_gpus >= 1
        self._group = LearnerGroup(
            Path(body["store"]), body["rank"], body["size"], self.device, whole_gpu
        )
        self._generation = (lead, body["generation"])
        self.update.policy.group = self._group

    def _leave(self) -> None:
        if self._group is not None:
            self._group.close()
        self._group = self._generation = None
