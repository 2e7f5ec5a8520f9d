"""scripts/sandbox: hosts of their own, and nothing left of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.launchers.dialling import connect
from actorrl.runtime.launchers.remote_command import run
from tests.cluster import sandboxes

ASK = b"hostname; ls /tmp /dev/shm /root; readlink /proc/self/ns/net /proc/self/ns/pid\n"


def test_a_host_has_its_own_name_and_files_and_namespaces(flat):
    cluster = load_cluster(flat.directory / "cluster.yml")
    assert [host.name for host in cluster.hosts] == ["local", *flat.addresses]
    said = []
    for host in cluster.remote_hosts:
        connection = connect(host.ssh, host.name)
        said.append(run(connection, ASK, 30).output.decode().split())
        connection.close()
    assert [words[0] for words in said] == ["h1", "h2", "h3"]
    assert not {said[0][-1], said[0][-2]} & {said[1][-1], said[1][-2]}
    assert os.readlink("/proc/self/ns/net") not in said[0]


def test_nothing_is_left_of_a_sandbox_and_another_one_stays(flat, tmp_path):
    before = _what_is_there(flat)
    sandbox = sandboxes.up(tmp_path / "s", 2, "--jump")
    assert _what_is_there(sandbox) and before
    sandboxes.down(sandbox.directory)
    sandboxes.down(sandbox.directory)  # nothing to do, no error
    assert not _what_is_there(sandbox)
    assert _what_is_there(flat) == before
    assert not sandbox.directory.exists()


@pytest.mark.parametrize("options", [[], ["--loopback"]])
def test_the_sandbox_of_a_process_that_was_killed_is_removed_by_the_next_down(
    flat, tmp_path, options
):
    before = _what_is_there(flat)
    with subprocess.Popen(["sleep", "600"]) as owner:
        named = ("--owner", str(owner.pid))
        lost = sandboxes.up(tmp_path / "lost", 1, *named, *options)
        sandboxes.run("down", "--orphans")
        assert _what_is_there(lost)  # its owner is alive
        assert f"{lost.directory}: 1 hosts, belongs to process {owner.pid}" in sandboxes.run("list")
        owner.kill()
    shutil.rmtree(lost.directory)  # pytest's folder of an earlier run may be gone
    sandboxes.run("down", "--dir", str(tmp_path / "another"))
    assert not _what_is_there(lost)
    assert _what_is_there(flat) == before
    assert str(lost.directory) not in sandboxes.run("list")
    assert str(flat.directory) in sandboxes.run("list")


def test_without_namespaces_the_hosts_are_servers_on_the_loopback_interface(tmp_path):
    sandbox = sandboxes.up(tmp_path / "s", 2, "--loopback")
    try:
        for host in load_cluster(sandbox.directory / "cluster.yml").remote_hosts:
            connection = connect(host.ssh, host.name)
            assert run(connection, b"echo $SSH_CONNECTION\n", 30).output.split()[2] == b"127.0.0.1"
            connection.close()
    finally:
        sandboxes.down(sandbox.directory)


def _what_is_there(sandbox: sandboxes.Sandbox) -> set[str]:
    """Namespaces, interfaces and servers of a sandbox: other tests may have theirs meanwhile."""
    spaces = subprocess.check_output(["ip", "netns", "list"], text=True).split("\n")
    links = json.loads(subprocess.check_output(["ip", "-j", "link"], text=True))
    names = {line.split()[0] for line in spaces if line} | {link["ifname"] for link in links}
    return {name for name in names if name.startswith(sandbox.plan.name)} | _servers(sandbox)


def _servers(sandbox: sandboxes.Sandbox) -> set[str]:
    """They name its files, or see them mounted as a host does; not those of single sessions."""
    # A mount is named by its path in its own file system, which may begin at any of the parents.
    mounted = "/".join([*sandbox.directory.parts[-3:], "hosts/"])
    servers = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended
            seen = Path("/proc", pid, "mountinfo").read_text()
            command = Path("/proc", pid, "cmdline").read_bytes()
            its_own = mounted in seen or f"{sandbox.directory}/hosts/".encode() in command
            if b"sshd_config" in command and its_own:
                servers.add(pid)
    return servers
