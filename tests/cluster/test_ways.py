"""Whole runs over every kind of way to a host, and launches that are refused because of one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actorrl.cli import main
from actorrl.errors import EXIT_UNREACHABLE, EXIT_VERSION
from cluster.sandbox.plan import Machine
from tests.cluster import sandboxes
from tests.cluster.runs import entry, is_clean, launch_words, processes
from tests.cluster.sandboxes import NOISE, Sandbox
from tests.cluster.test_check import keygen, with_other_key
from tests.runtime.clusters import wait_until

pytestmark = pytest.mark.timeout(400)
ONE_WORKER = ["--workers", "1", "--stop", "timesteps_total=2000"]
TWO_WORKERS = ["--workers", "2", "--stop", "timesteps_total=3000"]


# ---- ways that work -----------------------------------------------------------------------------


@pytest.fixture
def noisy_alice(flat: Sandbox) -> Iterator[None]:
    start_up = flat.home(flat.plan.hosts[0], "alice") / ".bashrc"
    start_up.write_text(NOISE)
    yield
    start_up.unlink()


@pytest.mark.slow
def test_a_run_over_other_users_ports_keys_aliases_and_homes(
    flat, start, tmp_path, home, ssh_agent, locked_key, noisy_alice
):
    """One host: another user, a custom port, a key elsewhere, noise. The other one: an alias of
    ~/.ssh/config, an encrypted key that an SSH agent holds, a home directory with spaces."""
    one, two, _ = flat.addresses
    shutil.copy(flat.key, tmp_path / "my key")
    sandboxes.add_to_agent(locked_key, tmp_path)
    (home / ".ssh" / "config").write_text(
        f"Host box\n HostName {two}\n Port 2222\n User spaced\n IdentityFile {locked_key}\n"
    )
    left_out = dict.fromkeys(["user", "identity_file"])
    mine = {"identity_file": str(tmp_path / "my key")}
    hosts = flat.cluster(
        tmp_path / "cluster.yml",
        entry("local", "learner"),
        entry(f"alice@{one}:2222", "rollout", ssh=mine),
        entry("box", "rollout"),
        **left_out,
    )
    run = start(launch_words(hosts, "IMPALA", *TWO_WORKERS))
    assert run.end() == 0, run.output
    on = run.hosts()
    assert {on["rollout/0"], on["rollout/1"]} == {f"alice@{one}:2222", "box"}
    assert "Accepted publickey for alice" in flat.log(flat.plan.hosts[0])
    assert "Accepted publickey for spaced" in flat.log(flat.plan.hosts[1])
    assert "noise of a start-up file" not in run.output
    assert is_clean(run, flat)


@pytest.mark.slow
def test_a_run_through_a_jump_host(behind_jump, start, tmp_path):
    (host,) = behind_jump.addresses
    entries = entry("local", "learner"), entry(host, "rollout")
    hosts = behind_jump.cluster(tmp_path / "cluster.yml", *entries)
    run = start(launch_words(hosts, "IMPALA", *ONE_WORKER))
    assert run.end() == 0, run.output
    assert "SSH forward" not in run.output  # it can dial the driver itself
    assert is_clean(run, behind_jump)


@contextmanager
def taken_ports(machine: Machine, first: int, last: int) -> Iterator[None]:
    """Somebody else listens there."""
    text = (
        "import socket\n"
        f"taken = [socket.create_server(('', port)) for port in range({first}, {last + 1})]\n"
        "print('taken', flush=True)\ninput()\n"
    )
    command = ["ip", "netns", "exec", machine.namespace, sys.executable, "-c", text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"taken\n"
        try:
            yield
        finally:
            process.kill()


def with_ports(hosts: Path, first: int, last: int) -> Path:
    text = hosts.read_text()
    assert "network:\n" in text
    hosts.write_text(text.replace("network:\n", f"network:\n  ports: {first}-{last}\n"))
    return hosts


@pytest.mark.slow
def test_a_run_takes_the_ports_that_others_have_left(flat, start, tmp_path):
    entries = entry("local", "learner"), entry(flat.addresses[0], "rollout")
    hosts = with_ports(flat.cluster(tmp_path / "cluster.yml", *entries), 43600, 43639)
    with taken_ports(flat.plan.hosts[0], 43600, 43629):
        run = start(launch_words(hosts, "IMPALA", *ONE_WORKER))
        assert run.end() == 0, run.output
    assert is_clean(run, flat)


# ---- launches that are refused ------------------------------------------------------------------


@pytest.fixture
def refused(flat, tmp_path, capsys, monkeypatch):
    """refused(host file, exit code) -> what was said; nothing was made or started anywhere"""

    def launch(hosts: Path, code: int) -> str:
        monkeypatch.chdir(tmp_path)
        before = processes(flat)
        begun = time.monotonic()
        words = launch_words(hosts, "IMPALA")
        got = main.run(words[words.index("launch") :])
        seconds = time.monotonic() - begun
        said = capsys.readouterr().err
        print(f"refused after {seconds:.1f} s: {said}")
        assert got == code, said
        assert not (tmp_path / "results").exists()
        wait_until(lambda: processes(flat) == before)
        return said

    return launch


def unroutable(flat: Sandbox) -> str:
    """An address to which packets go, and from which nothing ever comes."""
    address = re.sub(r"\d+$", "222", flat.addresses[0])
    (bridge, *_) = flat.plan.bridges
    words = ["lladdr", "02:00:00:00:00:01", "dev", bridge, "nud", "permanent"]
    subprocess.run(["ip", "neigh", "replace", address, *words], check=True)
    return address


SLOW = [pytest.param(why, marks=pytest.mark.slow) for why in ("user", "key", "unroutable")]


@pytest.mark.parametrize("why", ["port", "host key", *SLOW])
def test_a_launch_with_a_host_that_cannot_be_had_starts_nothing_on_the_others(
    flat, refused, tmp_path, why
):
    good, bad, _ = flat.addresses
    ways: dict[str, tuple[str, dict[str, str], str]] = {
        "user": (f"nobody-here@{bad}", {}, "it lets user nobody-here in with none of your keys"),
        "key": (bad, {"identity_file": str(keygen(tmp_path / "other key"))}, "none of your keys"),
        "port": (f"{bad}:2299", {}, "2299 is closed"),
        "unroutable": (unroutable(flat), {}, "nothing answers at"),
        "host key": (
            bad, {"known_hosts": with_other_key(flat, bad, tmp_path)}, "ITS HOST KEY HAS CHANGED",
        ),
    }  # fmt: skip
    address, ssh, message = ways[why]
    entries = entry("local", "learner"), entry(good, "rollout"), entry(address, "rollout", ssh=ssh)
    hosts = flat.cluster(tmp_path / "cluster.yml", *entries, connect_timeout_s=10)
    said = refused(hosts, EXIT_UNREACHABLE)
    assert said.startswith("error: ") and message in said and len(said.splitlines()) < 10


@pytest.mark.parametrize("why", ["python", "minor", "actorrl"])
def test_a_launch_with_another_python_or_actorrl_starts_nothing(flat, refused, tmp_path, why):
    alice = flat.home(flat.plan.hosts[0], "alice")
    stand_in = alice / "stand-in"
    package = alice / "lib" / "actorrl"
    keys: dict[str, object] = {"python": "~/stand-in"}
    told = 'import sys; sys.version_info = (3, 12, 1, "final", 0); exec(sys.argv[2])'
    text = f"exec '{flat.plan.python}' -c '{told}' \"$@\""
    message, code = r"is Python 3\.12\.1, the driver's is 3\.\d+", EXIT_VERSION
    if why == "python":
        keys = {"python": "/opt/none/bin/python"}
        message, code = "there is no /opt/none/bin/python", EXIT_UNREACHABLE
    elif why == "actorrl":
        keys["sync"] = {"mode": "none"}
        text = f"PYTHONPATH=$HOME/lib exec '{flat.plan.python}' \"$@\""
        (package / "wire").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "wire" / "messages.py").write_text("PROTOCOL_VERSION = 1\n")
        (alice / "lib" / "pyproject.toml").write_text('[project]\nversion = "0.0.7"\n')
        message = r"actorrl 0\.0\.7 \(protocol 1\)"
    stand_in.write_text(f"#!/bin/sh\n{text}\n")
    stand_in.chmod(0o755)
    try:
        entries = (
            entry("local", "learner"),
            entry(flat.addresses[1], "rollout"),
            entry(f"alice@{flat.addresses[0]}", "rollout", **keys),
        )
        said = refused(flat.cluster(tmp_path / "cluster.yml", *entries), code)
        assert re.search(message, said), said
    finally:
        stand_in.unlink()
        shutil.rmtree(alice / "lib", ignore_errors=True)


def test_a_launch_where_all_ports_are_taken_starts_nothing(flat, refused, tmp_path):
    entries = entry("local", "learner"), entry(flat.addresses[0], "rollout")
    hosts = with_ports(flat.cluster(tmp_path / "cluster.yml", *entries), 43640, 43645)
    with taken_ports(flat.plan.hosts[0], 43640, 43645):
        said = refused(hosts, EXIT_UNREACHABLE)
    assert f"{flat.addresses[0]}: no port of 43640-43645 (network.ports) is free" in said
    assert "set network: {ports: FIRST-LAST}" in said
