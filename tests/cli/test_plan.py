"""`actorrl plan` with and without other hosts: what it prints, and that it reaches nobody."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorrl.cli.main import run
from actorrl.cli.plan import _ranges, placement_lines
from actorrl.runtime.actor import Actor
from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.program import Program

LAB = """
name: lab
hosts:
  - local
  - {host: 'gpu1.lab:2222', roles: [learner, replay], resources: {cpu: 16, mem: 64GB}}
  - {host: 'cpu[01-08].a-rather-long-domain.example', roles: [rollout]}
roles:
  rollout: {count: 64}
  replay: {count: 4, mem: 8GB}
  learner: {gpu: 1}
"""


@pytest.fixture
def lab(tmp_path: Path) -> str:
    path = tmp_path / "lab.yml"
    path.write_text(LAB)
    return str(path)


_REACHING_OUT = (
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname",
    "subprocess.Popen", "os.fork", "os.posix_spawn", "os.system",
)  # fmt: skip
_heard: list[str] | None = None


@pytest.fixture(scope="module")
def audit() -> None:
    sys.addaudithook(lambda event, _: _heard.append(event) if _heard is not None else None)


@pytest.fixture
def unreachable(audit: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No connection is opened and no process started, but for asking nvidia-smi for GPUs."""
    global _heard
    monkeypatch.setattr("actorrl.runtime.inventory.gpu_ids", lambda: ())
    _heard = []
    yield
    heard, _heard = _heard, None
    assert not set(heard) & set(_REACHING_OUT)


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["plan", "--env", "CartPole-v1", *words]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    return out


def test_every_host_has_a_row_with_its_actors(lab, unreachable, capsys):
    out = plan(capsys, "--algo", "APEX", "--hosts", lab)
    lines = out.splitlines()
    assert "  rollout/0..63        RolloutWorker" in lines
    assert "  learner/0            ReplayLearner  gpu=1" in lines
    (gpu,) = [line for line in lines if "gpu1.lab:2222" in line]
    assert gpu.split()[:6] == ["gpu1.lab:2222", "16", "?", "64", "GB", "replay/0..3,"]
    assert " ".join(out.split()).count("learner/0 on 1 GPU") == 1
    row = lines.index("  cpu01.a-rather-long-domain.example")
    assert "rollout/0 8 16 24 32 40 48 56" in " ".join(" ".join(lines[row + 1 :]).split())
    assert "? is not known before the host is reached" in out


def test_workers_of_the_command_line_go_before_the_host_list(lab, unreachable, capsys):
    out = plan(capsys, "--algo", "IMPALA", "--hosts", lab, "--workers", "3")
    assert "rollout/0..2" in out and "rollout/3" not in out


def test_slots_are_the_default_number_of_workers(unreachable, capsys):
    out = plan(capsys, "--algo", "IMPALA", "--hosts", "a:4,b:4")
    assert "  rollout/0..6         RolloutWorker" in out.splitlines()


def test_without_hosts_all_is_placed_here(unreachable, capsys):
    out = plan(capsys, "--algo", "A3C", "--workers", "2")
    assert "learner/0, rollout/0..1" in out and "?" not in out


@pytest.mark.parametrize(
    ("hosts", "code", "says"),
    [
        ("{version: 1, hosts: [local], roles: {rollout: {mem: 900TB}}}", 4, "rollout/0 needs 900"),
        ("{version: 1, hosts: [{host: a, roles: [rollout]}]}", 4, "carries only rollout"),
        ("{version: 1, hosts: [{host: local, resources: {gpu: 999}}]}", 4, "says gpu: 999"),
        ("{version: 1, hsts: [local]}", 2, "did you mean 'hosts'?"),
        (
            "hosts: [a]\nnetwork: {security: none}",
            2,
            "line 2: network.security: 'none' is for this",
        ),
        ("hosts: [{host: 'a:ssh'}]", 2, "line 1: hosts[0].host: 'a:ssh': the port 'ssh' is not"),
        ("hosts: ['a[3-1]']", 2, "line 1: hosts[0].host: 'a[3-1]': the range 3-1 runs backwards"),
        ("hosts: [a, a]", 2, "line 1: hosts[1].host: 'a' is there already, on line 1"),
        ("hosts: [{host: a, ssh: {identity_file: /no}}]", 2, "line 1: hosts[0].ssh.identity_file:"),
    ],
)
def test_what_cannot_be_is_refused_with_its_exit_code(hosts, code, says, tmp_path, capsys):
    path = tmp_path / "hosts.yml"
    path.write_text(hosts)
    words = ["--algo", "IMPALA", "--env", "CartPole-v1", "--hosts", str(path)]
    assert run(["plan", *words]) == code
    assert says in capsys.readouterr().err
    assert run(["launch", *words, "--results", str(tmp_path / "results")]) == code
    assert not (tmp_path / "results").exists()


def test_a_device_is_named_once_it_is_known():
    program = Program("p")
    program.add("learner", Actor, gpu=1)
    spec = load_cluster("x:2", ssh_config=None)
    assert placement_lines(program, spec)[2].endswith("learner/0 on 1 GPU")


def test_numbers_are_joined_where_they_are_neighbours():
    assert _ranges([0]) == "0"
    assert _ranges([0, 1, 2, 5, 7, 8]) == "0..2 5 7..8"
