"""Sandboxes for the tests: made by scripts/sandbox as a user makes them, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from cluster.sandbox import plan
from cluster.sandbox.plan import Machine

PASSPHRASE = "correct horse"
NOISE = """echo noise of a start-up file
echo more of it >&2
printf 'without an end'
"""
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
    """It is removed by whoever comes next if this process is killed before `down`."""
    command = ["up", str(count), "--dir", str(directory), "--python", sys.executable]
    run(*command, "--owner", str(os.getpid()), *options)
    return Sandbox(directory)


def down(directory: Path) -> None:
    run("down", "--dir", str(directory))


def run(*arguments: str) -> str:
    """`scripts/sandbox ARGUMENTS`, and what it prints."""
    done = subprocess.run([_SCRIPT, *arguments], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


def add_to_agent(key: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text(f"#!/bin/sh\necho '{PASSPHRASE}'\n")
    answer.chmod(0o700)
    asking = {**os.environ, "SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", key], check=True, env=asking, stdin=subprocess.DEVNULL)
