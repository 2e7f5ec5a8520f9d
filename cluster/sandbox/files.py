"""The files of a sandbox: keys, each host's users and server settings, and what the driver needs
to reach them (cluster.yml, known_hosts, ssh_config)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from cluster.sandbox.plan import USERS, Machine, Sandbox

KEY = "id_ed25519"
_BANNER = "This is a host of a sandbox. Whatever a host says in greeting must do no harm.\n"


def write_keys(sandbox: Sandbox) -> None:
    """The user's key pair, and a host key per machine."""
    root = Path(sandbox.directory)
    _keygen(root / KEY, "sandbox user")
    for machine in sandbox.machines:
        directory = sandbox.of(machine)
        directory.mkdir(parents=True, mode=0o755)
        _keygen(directory / "host_key", machine.name)


def write_host(sandbox: Sandbox, machine: Machine) -> None:
    """Everything that `inside.py` and the SSH server of one host read."""
    directory = sandbox.of(machine)
    sshd = find_sshd()
    (directory / "banner").write_text(_BANNER)
    (directory / "sshd_config").write_text(_sshd_config(machine, "/run/sandbox"))
    authorized = directory / "authorized"
    authorized.mkdir()
    (directory / "home").mkdir()
    for user in USERS:
        home = directory / user.home.lstrip("/")
        home.mkdir(mode=0o700)
        os.chown(home, user.uid, user.uid)
        shutil.copy(Path(sandbox.directory) / f"{KEY}.pub", authorized / user.name)
    lines = {
        "passwd": [f"{u.name}:x:{u.uid}:{u.uid}::{u.home}:/bin/bash" for u in USERS],
        "group": [f"{u.name}:x:{u.uid}:" for u in USERS],
        "shadow": [f"{u.name}:*:19000:0:99999:7:::" for u in USERS],
        "hosts": [f"{other.address} {other.name}" for other in sandbox.machines],
    }
    for name, added in lines.items():
        text = Path("/etc", name).read_text().rstrip("\n")
        (directory / name).write_text("\n".join([text, *added]) + "\n")
    (directory / "shadow").chmod(0o600)
    spec = {"hostname": machine.name, "shared": sandbox.shared, "sshd": sshd}
    (directory / "inside.json").write_text(json.dumps(spec))


def find_sshd() -> str:
    """Raises FileNotFoundError where there is no SSH server."""
    path = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise FileNotFoundError("sshd is missing (Debian: apt-get install openssh-server)")
    return path


def _sshd_config(machine: Machine, files: str) -> str:
    ports = "\n".join(f"ListenAddress {machine.address}:{port}" for port in machine.ports)
    return f"""{ports}
HostKey {files}/host_key
AuthorizedKeysFile {files}/authorized/%u
PidFile none
Banner {files}/banner
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
LogLevel DEBUG1
MaxStartups 10:30:100
"""


def write_loopback(sandbox: Sandbox, machine: Machine) -> None:
    """The same for a host that is only an SSH server of this user on this machine."""
    directory = sandbox.of(machine)
    (directory / "tmp").mkdir()
    (directory / "banner").write_text(_BANNER)
    authorized = directory / "authorized"
    authorized.mkdir()
    shutil.copy(Path(sandbox.directory) / f"{KEY}.pub", authorized / sandbox.user)
    (directory / "sshd_config").write_text(_sshd_config(machine, str(directory)))


def write_driver_files(sandbox: Sandbox) -> None:
    root = Path(sandbox.directory)
    (root / "known_hosts").write_text(
        "".join(f"{name} {_public(sandbox.of(m) / 'host_key.pub')}\n"
                for m in sandbox.machines for name in _known_names(m))
    )  # fmt: skip
    (root / "ssh_config").write_text(_ssh_config(sandbox))
    (root / "cluster.yml").write_text(_cluster(sandbox))


def _known_names(machine: Machine) -> list[str]:
    return [
        machine.address if port == 22 else f"[{machine.address}]:{port}" for port in machine.ports
    ]


def _public(path: Path) -> str:
    return " ".join(path.read_text().split()[:2])


def _ssh_config(sandbox: Sandbox) -> str:
    """For `ssh -F FILE h1`."""
    through = ",".join(jump.name for jump in sandbox.jumps)
    blocks = []
    for machine in sandbox.machines:
        jump = ""
        if machine in sandbox.hosts and through:
            jump = f"\n  ProxyJump {through}"
        elif machine in sandbox.jumps[1:]:
            jump = f"\n  ProxyJump {sandbox.jumps[sandbox.jumps.index(machine) - 1].name}"
        blocks.append(
            f"Host {machine.name}\n  HostName {machine.address}\n  Port {machine.ports[0]}{jump}"
        )
    return (
        "\n".join(blocks)
        + f"\nHost *\n  User {sandbox.user}\n  IdentityFile {sandbox.directory}/{KEY}"
        f"\n  IdentitiesOnly yes\n  UserKnownHostsFile {sandbox.directory}/known_hosts\n"
    )


def _cluster(sandbox: Sandbox) -> str:
    jumps = [f"{sandbox.user}@{_written(jump)}" for jump in sandbox.jumps]
    through = f"\n    proxy_jump: {json.dumps(jumps)}" if jumps else ""
    hosts = "\n".join(_entry(sandbox, machine) for machine in sandbox.hosts)
    return f"""# Made by scripts/sandbox, whose `down --dir {sandbox.directory}` removes it.
version: 1
name: sandbox
defaults:
  ssh:
    user: {sandbox.user}
    identity_file: {json.dumps(f"{sandbox.directory}/{KEY}")}
    known_hosts: {json.dumps(f"{sandbox.directory}/known_hosts")}{through}
  python: {json.dumps(sandbox.python)}
  workdir: ~/actorrl
network: {{advertise: {sandbox.driver_address}}}
hosts:
  - host: local
    roles: [learner]
{hosts}
"""


def _written(machine: Machine) -> str:
    return machine.address if machine.ports[0] == 22 else f"{machine.address}:{machine.ports[0]}"


def _entry(sandbox: Sandbox, machine: Machine) -> str:
    roles = "[rollout, replay]" if machine is sandbox.hosts[-1] else "[rollout]"
    text = f"  - host: {_written(machine)}\n    roles: {roles}"
    if not machine.namespace:  # this machine's own /tmp would be taken for the same host
        directory = sandbox.of(machine)
        text += f"\n    workdir: {json.dumps(f'{directory}/work')}"
        text += f"\n    env: {{TMPDIR: {json.dumps(f'{directory}/tmp')}}}"
    return text


def _keygen(path: Path, comment: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
