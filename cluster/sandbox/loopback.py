"""Where there are no namespaces: one SSH server of this user per host, on 127.0.0.1.

The hosts share this machine's files, network and user, so this shows less than namespaces do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import signal
import socket
import subprocess
from pathlib import Path

from cluster.sandbox.files import find_sshd
from cluster.sandbox.plan import Machine, Sandbox, new_mark


def plan(directory: Path, python: str, count: int) -> Sandbox:
    return Sandbox(
        directory=str(directory),
        name=new_mark(),
        python=python,
        shared=[],
        user=pwd.getpwuid(os.geteuid()).pw_name,
        driver_address="127.0.0.1",
        group="",
        bridges={},
        jumps=[],
        hosts=[Machine(f"h{i + 1}", "127.0.0.1", (port,)) for i, port in enumerate(_ports(count))],
        made_directory=not directory.exists(),
    )


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def start(sandbox: Sandbox, machine: Machine) -> Machine:
    """The machine with its process."""
    directory = sandbox.of(machine)
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", 0o755, exist_ok=True)
    with open(directory / "start.log", "wb") as log:
        process = subprocess.Popen(
            [find_sshd(), "-D", "-f", str(directory / "sshd_config"), "-E",
             str(directory / "sshd.log")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
        )  # fmt: skip
    return dataclasses.replace(machine, process=process.pid)


def destroy(sandbox: Sandbox) -> None:
    """End the servers. A pid is used again: only a process that still names our file is ours."""
    for machine in sandbox.hosts:
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(machine.process)
            command = Path(f"/proc/{machine.process}/cmdline").read_bytes()
            if os.fsencode(sandbox.of(machine) / "sshd_config") in command:
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            os.close(pidfd)
