"""Sandboxes for the tests: made by scripts/sandbox as a user makes them, seen from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from cluster.sandbox import plan
from cluster.sandbox.plan import Machine

_SCRIPT = Path(__file__).parents[2] / "scripts" / "sandbox"


class Sandbox:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        read = plan.read(directory)
        assert read is not None
        self.plan = read

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def addresses(self) -> list[str]:
        return [host.address for host in self.plan.hosts]

    @property
    def jumps(self) -> list[str]:
        return [f"rl@{jump.address}" for jump in self.plan.jumps]

    def log(self, machine: Machine) -> str:
        """What the machine's SSH server has said."""
        return (self.plan.of(machine) / "sshd.log").read_text()

    def home(self, machine: Machine, user: str) -> Path:
        """A user's home directory, as seen from here."""
        [home] = [each.home for each in plan.USERS if each.name == user]
        return self.plan.of(machine) / home.lstrip("/")

    def cluster(self, path: Path, *entries: dict[str, Any] | str, **ssh: Any) -> Path:
        """Write a host file: the sandbox's own defaults, with other words under `ssh`. A value of
        None leaves the sandbox's word out."""
        words: dict[str, Any] = {
            "user": "rl",
            "identity_file": str(self.key),
            "known_hosts": str(self.known_hosts),
            "proxy_jump": self.jumps,
            **ssh,
        }
        content = {
            "defaults": {
                "ssh": {key: value for key, value in words.items() if value is not None},
                "python": self.plan.python,
                "sync": {"source": str(path.parent)},
            },
            "network": {"advertise": self.plan.driver_address},
            "hosts": list(entries),
        }
        path.write_text(yaml.safe_dump(content))
        return path


def up(directory: Path, count: int, *options: str) -> Sandbox:
    command = ["up", str(count), "--dir", str(directory), "--python", sys.executable, *options]
    _sandbox(*command)
    return Sandbox(directory)


def down(directory: Path) -> None:
    _sandbox("down", "--dir", str(directory))


def _sandbox(*arguments: str) -> None:
    done = subprocess.run([_SCRIPT, *arguments], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
