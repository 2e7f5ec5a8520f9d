"""Several learners of one run, on one host: the first one leads, the others learn with it.

                    shares (asked)
  ...  learner/0  <================>  learner/1..M

shares    request, 1 open per partner: its share of a batch, or whether it is there. Full: the lead
          begins no batch.
"""

from __future__ import annotations

from actorrl.roles.learner import Learner
from actorrl.roles.learner_partner import LearnerPartner
from actorrl.roles.settings import LearnerSettings
from actorrl.runtime.program import Program, Request
from actorrl.runtime.refs import ActorRef, GroupRef


def add_learners(program: Program, lead: type[Learner], settings: LearnerSettings) -> ActorRef:
    """`settings.num_learners` of them; the lead is returned."""
    gpu = settings.num_gpus
    first = program.add("learner", lead, settings, gpu=gpu)
    partners = [
        program.add("learner", LearnerPartner, settings, gpu=gpu)
        for _ in range(1, settings.num_learners)
    ]
    if partners:
        program.link("shares", Request(1), first, GroupRef("learner", partners))
        program.together.add("learner")
    return first
