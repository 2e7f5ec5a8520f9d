"""How long the processes of a run may take until they are ready."""

from __future__ import annotations

import time

import pytest

from actorrl.algorithms.pg import PGConfig
from actorrl.errors import RunFailed
from actorrl.testing.probe_envs import ConstantReward


class SlowToMake(ConstantReward):
    """As a simulator that starts in each worker."""

    def __init__(self, config):
        super().__init__()
        if config.worker_index > 0:
            time.sleep(config["seconds"])


def test_a_worker_has_as_long_to_make_its_environments_as_the_settings_say(tmp_path):
    config = PGConfig().environment(SlowToMake, env_config={"seconds": 1000})
    config.rollouts(num_workers=1, num_envs_per_worker=1, start_timeout_s=1.0)
    said = "not ready within 1 s, its `start_timeout_s`"
    with pytest.raises(RunFailed, match=said):
        config.build(results=tmp_path)
