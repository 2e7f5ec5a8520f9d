from __future__ import annotations

from actorrl.algorithms.pg import PGConfig
from actorrl.cli.early_agent import early_agent
from actorrl.runtime import strays
from actorrl.runtime.launchers import early


def test_a_run_in_one_process_keeps_no_agent_waiting(tmp_path):
    config = PGConfig().environment("CartPole-v1").rollouts(num_rollout_workers=0)
    with early_agent():
        run_id = early.run_id()
        assert strays.of_run(run_id) != []
        algo = config.build(results=tmp_path)
        assert algo.run_id == run_id and strays.of_run(run_id) == []
        algo.stop()


def test_a_command_that_starts_no_run_leaves_nothing():
    with early_agent():
        run_id = early.run_id()
    assert strays.of_run(run_id) == []
