"""Learning from recorded experience: a learner and a dataset, no workers.

  dataset --rows--> learner/0 --weights--> driver

weights   state. Never full: the newest version, for evaluation in the driver.
"""

from __future__ import annotations

from actorrl.roles.offline_learner import MakeReader, OfflineLearner
from actorrl.roles.settings import LearnerSettings
from actorrl.runtime.program import Program, State
from actorrl.runtime.refs import DRIVER

PRELOAD = ("actorrl.roles.offline_learner",)


def build(name: str, learner: LearnerSettings, make_reader: MakeReader) -> Program:
    program = Program(name, PRELOAD)
    learner_ref = program.add("learner", OfflineLearner, learner, make_reader, gpu=learner.num_gpus)
    program.link("weights", State(), learner_ref, DRIVER)
    return program
