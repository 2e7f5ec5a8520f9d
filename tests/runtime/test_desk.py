"""What the command line asks of a live run."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from actorrl.errors import RunFolderError
from actorrl.runtime.desk import ask
from tests.runtime.clusters import cluster_of, rows, wait_until


def stack(run_id: str, actor: str) -> str:
    return str(ask(run_id, {"ask": "stack", "actor": actor})["text"])


def test_a_live_run_tells_where_an_actor_is_and_what_all_use(run_id, tmp_path):
    with cluster_of(2, run_id=run_id, log_dir=tmp_path) as cluster:
        cluster.ref("worker/0").hold_the_gil.tell(40_000_000)
        wait_until(lambda: "in hold_the_gil" in stack(run_id, "worker/0"))
        assert "in hold_the_gil" not in stack(run_id, "worker/1")
        wait_until(
            lambda: all(a["rss_bytes"] > 2**20 for a in ask(run_id, {"ask": "top"})["actors"])
        )
        seen = ask(run_id, {"ask": "top"})
        (host,) = seen["hosts"]
        assert (host["host"], host["state"]) == ("local", "up")
        assert 0 <= host["cpu"] <= 1 and 0 < host["memory"] <= 1
        with pytest.raises(RunFolderError, match=r"worker/7.*there are worker/0, worker/1"):
            stack(run_id, "worker/7")
        cluster.kill()  # it would hold on for as long as a stop waits


def test_nonsense_at_the_desk_harms_nobody(run_id):
    with cluster_of(1, run_id=run_id) as cluster:
        path = Path(tempfile.gettempdir(), f"actorrl-{os.getuid()}", run_id, "desk")
        for words in (b"", b"\n", b"[]\n", b"{}\n", b'{"ask": 7}\n', b"\xff" * 10_000, b"[" * 4000):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.connect(str(path))
                line.sendall(words)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as slow:
            slow.connect(str(path))
            slow.sendall(b'{"ask":')
            with pytest.raises(RunFolderError, match="no such actor"):
                ask(run_id, {"ask": "nothing"})
        assert cluster.ref("worker/0").add.call().result() == 1


def test_a_host_that_does_not_answer_is_said(run_id):
    with cluster_of(1, run_id=run_id) as cluster:
        agent = rows(cluster)["agent/local"]["pid"]
        os.kill(agent, signal.SIGSTOP)
        try:
            with pytest.raises(RunFolderError, match="its host does not answer"):
                stack(run_id, "worker/0")
        finally:
            os.kill(agent, signal.SIGCONT)


def test_a_run_that_is_not_there_is_said():
    with pytest.raises(RunFolderError, match="does not answer"):
        ask("no-such-run", {"ask": "top"})
