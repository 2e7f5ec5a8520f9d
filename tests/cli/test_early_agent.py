from __future__ import annotations

import os
import subprocess
import sys

from actorrl.algorithms.pg import PGConfig
from actorrl.cli.early_agent import early_agent
from actorrl.runtime import strays
from actorrl.runtime.launchers import early
from tests.runtime.clusters import wait_until

_BUILT = """
from actorrl.cli.early_agent import early_agent
from actorrl.runtime.launchers import early
with early_agent():
    waiting = early._waiting.process.pid
    from actorrl.algorithms.pg import PGConfig
    config = PGConfig().environment("CartPole-v1").rollouts(num_rollout_workers=1)
    with config.build(results={results!r}) as run:
        assert waiting in [row["pid"] for row in run.cluster.status()]
"""


def test_what_our_own_imports_set_in_the_environment_makes_it_no_other(tmp_path):
    words = [sys.executable, "-c", _BUILT.format(results=str(tmp_path))]
    bare = {k: v for k, v in os.environ.items() if k != "PYGAME_HIDE_SUPPORT_PROMPT"}
    subprocess.run(words, check=True, env=bare, timeout=60)


def test_a_run_in_one_process_keeps_no_agent_waiting(tmp_path):
    config = PGConfig().environment("CartPole-v1").rollouts(num_rollout_workers=0)
    with early_agent():
        run_id = early.run_id()
        wait_until(lambda: strays.of_run(run_id) != [])
        algo = config.build(results=tmp_path)
        assert algo.run_id == run_id and strays.of_run(run_id) == []
        algo.stop()


def test_a_command_that_starts_no_run_leaves_nothing():
    with early_agent():
        run_id = early.run_id()
    assert strays.of_run(run_id) == []
