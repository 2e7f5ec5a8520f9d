"""What a run says of its hosts."""

from __future__ import annotations

import io

from actorrl.experiment.host_lines import MAX_ROWS, not_there, summary, were_lost
from actorrl.experiment.progress import Progress
from actorrl.experiment.stop import StopCriteria


def host(name, state="up", losses=0, cpu=0.5, error=None):
    return {
        "host": name,
        "state": state,
        "losses": losses,
        "cpu": cpu,
        "memory": 0.25,
        "last_error": error,
    }


def table(hosts, width=80):
    progress = Progress(
        "APEX", "CartPole-v1", "run", StopCriteria({}), stream=io.StringIO(), hosts=lambda: hosts
    )
    progress.update({"training_iteration": 1, "timesteps_total": 10})
    return progress.render(width), progress._plain_line()


def test_each_host_has_a_row_with_its_health():
    text, line = table(
        [host("local"), host("gpu1.lab", "suspect", cpu=0.93), host("cpu02", "up", 2)]
    )
    rows = [row for row in text.splitlines() if "host " in row]
    assert len(rows) == 3 and all(len(row) == 80 for row in text.splitlines())
    assert "gpu1.lab" in rows[1] and "suspect" in rows[1] and "cpu 93%" in rows[1]
    assert "cpu02" in rows[2] and "up (lost 2 times)" in rows[2] and "mem 25%" in rows[2]
    assert line.endswith("hosts 2/3 up")


def test_of_many_hosts_only_those_that_are_not_up_have_rows():
    hosts = [host(f"cpu{i:02}") for i in range(40)]
    hosts[7] = host("cpu07", "cooling", 1)
    text, _line = table(hosts)
    rows = [row for row in text.splitlines() if "host " in row]
    assert len(rows) == 1 and "cpu07" in rows[0] and "hosts 39/40 up" in text
    text, _ = table([host(f"cpu{i:02}", "cooling") for i in range(40)])
    assert sum("host " in row for row in text.splitlines()) == MAX_ROWS
    assert "hosts 0/40 up" in text


def test_this_machine_alone_is_not_worth_a_row():
    assert summary([host("local")]) == summary([]) == ""
    text, line = table([host("local")])
    assert "host" not in text and "host" not in line


def test_who_is_missing_and_who_came_back_has_a_line_with_the_reason():
    hosts = [
        host("local"),
        host("one", "cooling", 1, error="not heard of for 10 s\nmore"),
        host("two", "given up"),
        host("three", losses=1),
    ]
    assert not_there(hosts) == [
        "without host one: cooling (lost once), not heard of for 10 s",
        "without host two: given up",
    ]
    assert were_lost(hosts) == ["host three was lost once, and came back"]
