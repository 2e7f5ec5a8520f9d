"""scripts/sandbox: several SSH hosts on this machine, for trying and testing a cluster."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cluster.sandbox import files, loopback, network, plan, register

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_DIRECTORY = ROOT / ".sandbox"
_PACKAGES = {"ip": "iproute2", "sshd": "openssh-server", "ssh-keygen": "openssh-client"}
_ASK_PREFIXES = "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix]))"


def main(arguments: list[str]) -> int:
    wanted = _parser().parse_args(arguments)
    directory = Path(wanted.dir).absolute()
    try:
        if wanted.command == "list":
            return show()
        if wanted.command == "down":
            remove_orphans()
            return 0 if wanted.orphans else down(directory)
        return up(directory, wanted)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"scripts/sandbox: error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("up", help="make N hosts and a cluster.yml for them")
    make.add_argument("count", metavar="N", type=int)
    make.add_argument(
        "--jump", action="count", default=0,
        help="reach the hosts over SSH through a jump host only; twice: through two",
    )  # fmt: skip
    make.add_argument(
        "--no-route", action="store_true",
        help="with --jump: nothing but SSH gets through to the hosts, or from them to the driver",
    )  # fmt: skip
    make.add_argument("--loopback", action="store_true", help="SSH servers on 127.0.0.1 only")
    make.add_argument("--python", help="interpreter of the hosts (default: .venv's, or this one)")
    make.add_argument(
        "--owner", metavar="PID", type=int, default=0,
        help="once this process has ended, any `down` removes the sandbox",
    )  # fmt: skip
    remove = commands.add_parser("down", help="remove everything that `up` made")
    remove.add_argument(
        "--orphans", action="store_true", help="only sandboxes whose owner has ended"
    )
    listing = commands.add_parser("list", help="the sandboxes of this machine")
    for command in (make, remove, listing):
        command.add_argument("--dir", metavar="D", default=str(DEFAULT_DIRECTORY))
    return parser


def up(directory: Path, wanted: argparse.Namespace) -> int:
    if not 1 <= wanted.count <= 200:
        raise RuntimeError(f"{wanted.count} hosts: 1 to 200 are possible")
    if plan.read(directory) is not None:
        raise RuntimeError(
            f"{directory} has a sandbox already: scripts/sandbox down --dir {directory}"
        )
    _install_missing()
    files.find_sshd()
    python = wanted.python or _default_python()
    reason = "asked for" if wanted.loopback else network.why_not()
    if reason:
        print(f"scripts/sandbox: loopback hosts ({reason})", file=sys.stderr)
        if wanted.jump:
            raise RuntimeError("--jump needs network namespaces")
        sandbox = loopback.plan(directory, python, wanted.count)
        _write_down(sandbox, wanted.owner)
        _up_loopback(sandbox)
    else:
        with network.lock():
            networks = network.free_networks(wanted.jump + 1)
            routed = not wanted.no_route
            shared = _prefixes(python)
            sandbox = plan.plan(
                directory, python, shared, networks, wanted.count, wanted.jump, routed
            )
            _write_down(sandbox, wanted.owner)
            _or_down(sandbox, lambda: network.build(sandbox))
        _or_down(sandbox, lambda: _up_namespaces(sandbox))
    print(f"{wanted.count} hosts are up: actorrl launch --hosts {directory}/cluster.yml ...")
    print(f"log in with `ssh -F {directory}/ssh_config h1`; remove them with"
          f" `scripts/sandbox down --dir {directory}`")  # fmt: skip
    return 0


def _write_down(sandbox: plan.Sandbox, owner: int) -> None:
    """Before anything is made, so that `down` finds all of it whatever happens."""
    sandbox.owner = register.start_of(owner) if owner else ""
    directory = Path(sandbox.directory)
    directory.mkdir(parents=True, exist_ok=True)
    register.add(sandbox)
    sandbox.write()
    files.write_keys(sandbox)


def _or_down(sandbox: plan.Sandbox, step: Callable[[], None]) -> None:
    try:
        step()
    except BaseException:
        down(Path(sandbox.directory))
        raise


def _up_namespaces(sandbox: plan.Sandbox) -> None:
    for machine in sandbox.machines:
        files.write_host(sandbox, machine)
        network.start(sandbox, machine)
    for machine in sandbox.machines:
        network.wait_for_server(sandbox, machine)
    files.write_driver_files(sandbox)


def _up_loopback(sandbox: plan.Sandbox) -> None:
    for index, machine in enumerate(sandbox.hosts):
        files.write_loopback(sandbox, machine)
        sandbox.hosts[index] = loopback.start(sandbox, machine)
        sandbox.write()
        register.add(sandbox)
    for machine in sandbox.hosts:
        _or_down(sandbox, lambda machine=machine: network.wait_for_server(sandbox, machine))
    files.write_driver_files(sandbox)


def down(directory: Path) -> int:
    sandbox = plan.read(directory)
    if sandbox is None:
        print(f"scripts/sandbox: no sandbox in {directory}", file=sys.stderr)
        return 0
    _take_down(sandbox)
    return 0


def remove_orphans() -> None:
    """What those left who were killed before they could take down what was theirs."""
    with network.lock():  # not two at the same time
        for sandbox in register.orphans():
            said = f"{sandbox.directory} has lost its owner, it is removed"
            print(f"scripts/sandbox: {said}", file=sys.stderr)
            _take_down(sandbox)


def show() -> int:
    for sandbox in register.sandboxes():
        owner = f", belongs to process {sandbox.owner.partition(':')[0]}" if sandbox.owner else ""
        print(f"{sandbox.directory}: {len(sandbox.hosts)} hosts{owner}")
    return 0


def _take_down(sandbox: plan.Sandbox) -> None:
    directory = Path(sandbox.directory)
    if sandbox.bridges:
        if os.geteuid() != 0:
            raise RuntimeError("this sandbox was made by root: take it down as root")
        network.destroy(sandbox)
    else:
        loopback.destroy(sandbox)
    shutil.rmtree(directory / "hosts", ignore_errors=True)
    for name in ("cluster.yml", "known_hosts", "ssh_config", files.KEY, f"{files.KEY}.pub"):
        (directory / name).unlink(missing_ok=True)
    (directory / plan.STATE).unlink(missing_ok=True)
    if sandbox.made_directory and directory.exists() and not any(directory.iterdir()):
        directory.rmdir()
    register.remove(sandbox)


def _default_python() -> str:
    own = ROOT / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def _prefixes(python: str) -> list[str]:
    """The directories without which the hosts cannot run this interpreter."""
    done = subprocess.run(
        [python, "-P", "-c", _ASK_PREFIXES], capture_output=True, text=True, check=True, timeout=60
    )
    found = {path for path in json.loads(done.stdout) if not path.startswith("/usr")}
    return sorted(found)


def _install_missing() -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing = [package for tool, package in _PACKAGES.items() if not shutil.which(tool, path=path)]
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"scripts/sandbox: installing {' '.join(missing)}", file=sys.stderr)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "check": True}
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-qq", "update"], **quiet, env=environment)
    install = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing]
    subprocess.run(install, **quiet, env=environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
