"""TD3: twin delayed deterministic policy gradient (Fujimoto et al. 2018).

    workers, noisy actions --[N] n-step rows--> learner: buffer, two losses --weights--> workers

DDPG with three repairs against values that are thought too high: two critics of which the smaller
value counts (`twin_q`), an actor and targets that move once for `policy_delay` updates of the
critics, and noise on the target's actions (`smooth_target_policy`). Policy, update and program are
DDPG's, where the switches are; this file has their values.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.ddpg import DeterministicConfig, local_program, make_policy
from actorrl.algorithms.replay_config import LearningStarts, RandomSteps, TwinQ
from actorrl.runtime.program import Program
from actorrl.topologies import local_replay


class TD3Config(DeterministicConfig):
    reproducible: ClassVar[bool] = True
    several_policies: ClassVar[bool] = True

    random_steps: RandomSteps = 1000
    learning_starts: LearningStarts = 1000
    twin_q: TwinQ = True
    policy_delay: Annotated[
        int, Meta(ge=1, description="updates of the critics for one of the actor")
    ] = 2
    smooth_target_policy: Annotated[bool, Meta(description="noise on the target's actions")] = True


class TD3(Algorithm):
    config_class = TD3Config
    make_policy = staticmethod(make_policy)
    iteration = staticmethod(local_replay.iteration)

    @staticmethod
    def program(config: TD3Config, setup: Setup) -> Program:
        return local_program("TD3", config, setup)


TD3Config.algorithm = TD3
DEFAULT_CONFIG, TD3Agent, TD3Trainer = TD3Config(), TD3, TD3  # RLlib's older names
