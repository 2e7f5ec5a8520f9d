"""Namespaces, bridges and the hosts' processes: made as the plan says, and taken down again."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.sandbox.plan import Machine, Sandbox

_PATIENCE_S = 30.0
_NEW_WORLD = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]


def why_not() -> str:
    """Why this machine cannot have hosts as namespaces; "" where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        done = _ip("netns", "add", name := f"arltest{os.getpid()}", check=False)
        if done.returncode == 0:
            _ip("netns", "del", name)
            return ""
    except FileNotFoundError:
        return "the command `ip` is missing (Debian: apt-get install iproute2)"
    return f"`ip netns add` is refused here: {done.stderr.strip()}"


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Two sandboxes that are made at the same moment must not choose the same network."""
    where = "/run/lock" if os.geteuid() == 0 else tempfile.gettempdir()
    with open(f"{where}/actorrl-sandbox-{os.geteuid()}", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_networks(count: int) -> list[str]:
    """So many private /24 networks that no route or address of this machine touches."""
    routes = json.loads(_ip("-j", "-4", "route", "show", "table", "all").stdout)
    written = [route["dst"] for route in routes if route.get("dst", "default") != "default"]
    used = [ipaddress.ip_network(text, strict=False) for text in written]
    free: list[str] = []
    while len(free) < count:
        start = f"10.{random.randint(64, 250)}.{random.randint(0, 254)}"
        network = ipaddress.ip_network(f"{start}.0/24")
        if start not in free and not any(network.overlaps(other) for other in used):
            free.append(start)
    return free


def build(sandbox: Sandbox) -> None:
    """Bridges, and a namespace per machine that is plugged into them."""
    for bridge, address in sandbox.bridges.items():
        _ip("link", "add", bridge, "group", sandbox.group, "type", "bridge")
        if address:
            _ip("addr", "add", address, "dev", bridge)
        _ip("link", "set", bridge, "up")
    for machine in sandbox.machines:
        _build_machine(machine, sandbox.group)


def _build_machine(machine: Machine, group: str) -> None:
    space = machine.namespace
    _ip("netns", "add", space)
    _ip("-n", space, "link", "set", "lo", "up")
    for plug in machine.interfaces:
        inside = ["name", plug.inside, "netns", space]
        _ip("link", "add", plug.outside, "group", group, "type", "veth", "peer", *inside)
        _ip("link", "set", plug.outside, "master", plug.bridge, "up")
        _ip("-n", space, "addr", "add", f"{plug.address}/24", "dev", plug.inside)
        _ip("-n", space, "link", "set", plug.inside, "up")


def start(sandbox: Sandbox, machine: Machine) -> None:
    """Start the machine: its first process is its SSH server, and everything ends with it."""
    directory = sandbox.of(machine)
    inside = Path(__file__).with_name("inside.py")
    with open(directory / "start.log", "wb") as log:
        subprocess.Popen(
            ["ip", "netns", "exec", machine.namespace, *_NEW_WORLD, "--mount-proc",
             sys.executable, "-P", str(inside), str(directory)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
        )  # fmt: skip


def wait_for_server(sandbox: Sandbox, machine: Machine) -> None:
    """Return when the machine's SSH server listens on all its ports."""
    directory = sandbox.of(machine)
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if (directory / "sshd.log").read_text().count("listening on") >= len(machine.ports):
                return
        time.sleep(0.02)
    why = (directory / "start.log").read_text().strip()
    raise RuntimeError(
        f"{machine.name}: its SSH server does not listen: {why or 'no reason given'}"
    )


def destroy(sandbox: Sandbox) -> None:
    """Take down what `build` and `start` made, as far as it is there."""
    there = [machine.namespace for machine in sandbox.machines if _path(machine.namespace).exists()]
    _kill_all_in(there)
    # all at once: one by one each takes a second. Refused where there are none any more.
    _ip("link", "del", "group", sandbox.group, check=False)
    for namespace in there:
        _ip("netns", "del", namespace)


def _path(namespace: str) -> Path:
    return Path("/run/netns", namespace)


def _kill_all_in(namespaces: list[str]) -> None:
    """End every process whose network is one of these. Nobody else's can be: the names are ours."""
    ids = {_path(namespace).stat().st_ino for namespace in namespaces}
    deadline = time.monotonic() + _PATIENCE_S
    while pids := [pid for pid in _pids() if _network_of(pid) in ids]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {' '.join(map(str, pids))} do not end")
        time.sleep(0.05)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _network_of(pid: int) -> int:
    """0 for a process that is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done
