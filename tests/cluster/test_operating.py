"""Looking at a run over hosts from the driver's machine, and its SSH connection broken."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.runs import (
    COMMAND,
    Run,
    agent_and_connection,
    entry,
    environment,
    json_lines,
    launch_words,
)
from tests.cluster.sandboxes import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
ENDLESS = ["--workers", "2", "--stop", "timesteps_total=100000000"]


def actorrl(run: Run, *words: str) -> str:
    command = [*COMMAND, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=run.folder, env=environment(), timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_top_stack_logs_status_and_stop_treat_actors_of_other_hosts_as_any(
    flat: Sandbox, tmp_path: Path, start: Any
) -> None:
    one, two, _ = flat.addresses
    hosts = flat.cluster(
        tmp_path / "cluster.yml",
        entry("local", "learner"),
        entry(one, "rollout"),
        entry(two, "rollout"),
    )
    run = start(launch_words(hosts, "IMPALA", *ENDLESS))
    run.wait(run.is_training)
    folder = str(run.folder)
    worker = run.actors()["rollout/0"]
    assert worker["host"] in (one, two)

    run.wait(lambda: _used(run, "rollout/0")["cores"] > 0)
    seen = json.loads(actorrl(run, "top", folder, "--json"))
    assert {host["host"]: host["state"] for host in seen["hosts"]} == {
        "local": "up",
        one: "up",
        two: "up",
    }
    assert _used(run, "rollout/0")["pid"] == worker["pid"]
    assert worker["host"] in actorrl(run, "top", folder)

    stack = actorrl(run, "stack", folder, "rollout/0")
    assert "rollout/0: its threads" in stack and "mailbox.py" in stack
    log = actorrl(run, "logs", folder, "rollout/0").splitlines()
    assert log and all(line.startswith(f"[rollout-0@{worker['host']}] ") for line in log)
    assert worker["host"] in actorrl(run, "status", folder)

    assert "stopped; to go on" in actorrl(run, "stop", folder)
    run.end()
    assert "stopped before the end, with a checkpoint" in run.output


def _used(run: Run, actor: str) -> dict[str, Any]:
    seen = json.loads(actorrl(run, "top", str(run.folder), "--json"))
    return next(row for row in seen["actors"] if row["name"] == actor)


def test_a_host_whose_tunnels_broke_is_lost_comes_back_and_is_used_again(
    far_away: Sandbox, tmp_path: Path, start: Any
) -> None:
    """Nothing but SSH gets through to it, so the connection is all that there is."""
    (host,) = far_away.addresses
    hosts = far_away.cluster(
        tmp_path / "cluster.yml", entry("local", "learner"), entry(host, "rollout")
    )
    run = start(launch_words(hosts, "IMPALA", *ENDLESS))
    run.wait(run.is_training)
    agent, connection = agent_and_connection(run.status()["run_id"], host)
    connection.kill()
    run.wait(lambda: "host_rejoined" in _told(run, host))
    told = _told(run, host)
    assert told.index("host_lifeline_broken") < told.index("host_lost")
    steps = run.rows()[-1]["timesteps_total"]
    run.wait(lambda: run.rows()[-1]["timesteps_total"] > steps + 2000)
    assert "came back" not in run.output
    actorrl(run, "stop", str(run.folder))
    run.end()
    assert f"host {host} was lost once, and came back" in run.output
    assert not agent.is_running()


def _told(run: Run, host: str) -> list[str]:
    return [e["kind"] for e in json_lines(run.folder / "events.jsonl") if e.get("host") == host]
