"""Host lists: what each form becomes, and what a mistake in one is answered with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from actorrl.errors import ConfigError
from actorrl.runtime.host_specs import (
    ClusterSpec,
    FailureSpec,
    HostSpec,
    NetworkSpec,
    ResourceSpec,
    RoleSpec,
)
from actorrl.runtime.hosts import load_cluster

# The file of the design, with every key.
LAB = """
version: 1
name: lab
defaults:
  ssh: {user: rl, port: 22, identity_file: KEY, proxy_jump: [bastion], connect_timeout_s: 8}
  python: py/bin/python
  workdir: ~/work
  sync: {mode: copy, source: ., exclude: [".git"]}
  env: {PYTHONUNBUFFERED: "1", A: a}
  pass_env: [TOKEN]
  setup: [make]
  resources: {cpu: auto, gpu: auto, mem: auto}
network: {advertise: auto, ports: 43000-43099, security: curve}
hosts:
  - local
  - host: gpu1.lab:2222
    roles: [learner, replay]
    resources: {cpu: 16, gpu: 2, mem: 64GB}
  - host: cpu[01-08].lab
    ssh: {user: alice, proxy_jump: []}
    python: /opt/python
    env: {A: b, C: 1}
    pass_env: []
    roles: [rollout]
    required: false
roles:
  rollout: {count: 64, cpu: 1, gpu: 0, place: spread}
  replay:  {count: 4, mem: 8GB, place: pack}
  learner: {count: 1, gpu: 1}
failure: {node_timeout_s: 10, lease_s: 30, grace_s: 10, min_hosts: 1}
"""


@pytest.fixture
def load(tmp_path: Path):
    """load(text, suffix) -> ClusterSpec of a file with that text; KEY is a file that exists."""

    def load(text: str, suffix: str = ".yml") -> ClusterSpec:
        (tmp_path / "key").touch()
        path = tmp_path / f"hosts{suffix}"
        path.write_text(text.replace("KEY", str(tmp_path / "key")))
        return load_cluster(str(path), ssh_config=None)

    return load


@pytest.fixture
def mistakes(load, tmp_path: Path):
    """mistakes(text) -> the lines of the error, less the file's name."""

    def mistakes(text: str, suffix: str = ".yml") -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, suffix)
        prefix = f"{tmp_path / 'hosts'}{suffix} "
        assert all(line.startswith(prefix) for line in caught.value.messages)
        return [line.removeprefix(prefix) for line in caught.value.messages]

    return mistakes


# ---- cluster.yml ---------------------------------------------------------------------------------


def test_every_key_of_the_file_is_read(load, tmp_path):
    spec = load(LAB)
    local, gpu, *cpus = spec.hosts
    assert [host.name for host in cpus] == [f"cpu0{n}.lab" for n in range(1, 9)]
    assert local == HostSpec(
        name="local", python="py/bin/python", workdir="~/work", sync=local.sync,
        env={"PYTHONUNBUFFERED": "1", "A": "a"}, pass_env=("TOKEN",), setup=("make",),
    )  # fmt: skip
    assert gpu.name == "gpu1.lab:2222" and gpu.roles == ("learner", "replay") and gpu.required
    assert gpu.resources == ResourceSpec(cpu=16, gpu=2, mem=64_000_000_000)
    assert (gpu.sync.mode, gpu.sync.source, gpu.sync.exclude) == ("copy", ".", [".git"])
    assert gpu.ssh is not None
    assert (gpu.ssh.host, gpu.ssh.port, gpu.ssh.user) == ("gpu1.lab", 2222, "rl")
    assert gpu.ssh.identity_file == str(tmp_path / "key") and gpu.ssh.connect_timeout_s == 8
    assert [hop.host for hop in gpu.ssh.proxy_jump] == ["bastion"]
    assert spec.name == "lab" and spec.network == NetworkSpec() and spec.failure == FailureSpec()
    assert spec.roles == {
        "rollout": RoleSpec(count=64, cpu=1, gpu=0, place="spread"),
        "replay": RoleSpec(count=4, mem=8_000_000_000, place="pack"),
        "learner": RoleSpec(count=1, gpu=1),
    }


def test_a_host_overrides_the_defaults_key_by_key(load):
    host = load(LAB).hosts[2]
    assert host.ssh is not None and not host.required
    assert (host.ssh.user, host.ssh.port, host.ssh.proxy_jump) == ("alice", 22, ())
    assert host.env == {"PYTHONUNBUFFERED": "1", "A": "b", "C": "1"}
    assert (host.python, host.pass_env, host.setup) == ("/opt/python", (), ("make",))


def test_a_list_of_names_is_enough(load):
    spec = load("hosts: [local, a, 'b[1-2]']")
    assert [host.name for host in spec.hosts] == ["local", "a", "b1", "b2"]
    assert spec.hosts[1].workdir == "~/actorrl/cluster"
    assert load("name: x\nhosts: [a]").hosts[0].workdir == "~/actorrl/x"


def test_a_shared_folder_is_the_working_directory(load, tmp_path):
    text = f"defaults: {{sync: {{mode: shared, source: {tmp_path}}}}}\nhosts: [a]"
    assert load(text).hosts[0].workdir == str(tmp_path)


def test_merge_keys_and_anchors_work(load):
    spec = load(
        "hosts:\n- &a {host: a, env: {X: 1}, roles: [rollout]}\n- {<<: *a, host: b}\n"
        "- {<<: *a, host: c, roles: []}"
    )
    assert [(h.name, h.env, h.roles) for h in spec.hosts] == [
        ("a", {"X": "1"}, ("rollout",)), ("b", {"X": "1"}, ("rollout",)), ("c", {"X": "1"}, ()),
    ]  # fmt: skip


BAD = """
version: 2
nme: lab
defaults:
  ssh: {usr: rl, port: ssh, identity_file: /nowhere/key}
  sync: {mode: cpy, source: /nowhere}
  resources: {cpu: -1, mem: lots}
network: {ports: 43099-43000, security: none}
hosts:
  - local
  - host: gpu1.lab:ssh
    roles: [lerner]
  - host: cpu[08-01].lab
  - a
  - b
  - a
  - host: b:22
  - ssh: {port: 3}
  - {host: u@c, ssh: {user: v}}
  - [d]
roles:
  rolout: {count: -3}
  rollout: {count: two, place: spred}
failure: {node_timeout_s: 0, min_hosts: 100, min_hosts: 2}
"""


def test_all_mistakes_are_named_at_once_with_line_key_and_nearest_name(mistakes):
    expected = [
        "line 2: version: '2' is not accepted, expected 1",
        "line 3: nme: unknown key, did you mean 'name'?",
        "line 5: defaults.ssh.identity_file: '/nowhere/key' is no file here, expected a private",
        "line 5: defaults.ssh.port: 'ssh' is not accepted, expected a whole number",
        "line 5: defaults.ssh.usr: unknown key, did you mean 'user'?",
        "line 6: defaults.sync.mode: 'cpy' is not accepted, expected 'copy' or 'shared' or 'none', "
        "did you mean 'copy'?",
        "line 6: defaults.sync.source: '/nowhere' is no folder here",
        "line 7: defaults.resources.cpu: '-1' is not accepted, expected a whole number >= 1",
        "line 7: defaults.resources.mem: 'lots' is not accepted, expected a size such as 8GB",
        "line 8: network.ports: '43099-43000' is not accepted, expected a range",
        "line 8: network.security: 'none' is for this machine alone, and a is another",
        "line 11: hosts[1].host: 'gpu1.lab:ssh': the port 'ssh' is not accepted",
        "line 12: hosts[1].roles: unknown role 'lerner', did you mean 'learner'?",
        "line 13: hosts[2].host: 'cpu[08-01].lab': the range 08-01 runs backwards",
        "line 16: hosts[5].host: 'a' is there already, on line 14",
        "line 17: hosts[6].host: 'b:22' is there already, on line 15, as 'b'",
        "line 18: hosts[7]: host is missing",
        "line 19: hosts[8].host: 'u@c' and ssh.user 'v' differ",
        "line 20: hosts[9]: a list is not accepted, expected a mapping",
        "line 20: hosts[9]: host is missing",
        "line 22: roles.rolout.count: '-3' is not accepted, expected a whole number >= 1",
        "line 22: roles.rolout: unknown role 'rolout', did you mean 'rollout'?",
        "line 23: roles.rollout.count: 'two' is not accepted, expected a whole number >= 1",
        "line 23: roles.rollout.place: 'spred' is not accepted, expected 'spread' or 'pack', did",
        "line 24: failure.min_hosts: given twice",
        "line 24: failure.node_timeout_s: '0' is not accepted, expected a number > 0",
    ]
    found = mistakes(BAD)
    assert len(found) == len(expected)
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(beginning)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: it is empty"),
        ("- a", "line 1: a list is not accepted, expected a mapping"),
        ("hosts: []", "line 1: hosts: missing"),
        ("version: 1", "line 1: hosts: missing"),
        ("hosts: [a\n", "line 2: "),
        ("hosts: &h [*h]", "line 1: "),
        ("hosts: [local]\nfailure: {min_hosts: 2}", "line 2: failure.min_hosts: 2 is not accepted"),
        ("hosts: [local]\nnetwork: {security: nne}", "line 2: network.security: 'nne' is not acc"),
        (
            "hosts: [{host: local, ssh: {port: 3}}]",
            "line 1: hosts[0].ssh: not accepted for `local`",
        ),
        ("hosts: [local]\nroles: {rollout: 3}", "line 2: roles.rollout: '3' is not accepted"),
        ("hosts: [local]\ndefaults: {env: [A]}", "line 2: defaults.env: a list is not accepted"),
        ("hosts: [local]\ndefaults: !!python/object:os.system x", "line 2: defaults: 'x' is not"),
    ],
)
def test_what_is_no_host_file_is_refused(mistakes, text, problem):
    assert any(line.startswith(problem) for line in mistakes(text))


def test_roles_of_ones_own_program_are_accepted_by_name(tmp_path):
    path = tmp_path / "c.yml"
    path.write_text("hosts: [{host: local, roles: [counter]}]\nroles: {counter: {count: 2}}")
    assert load_cluster(path, roles=["counter"]).roles["counter"].count == 2
    with pytest.raises(ConfigError, match="unknown role 'counter'"):
        load_cluster(path)


# ---- other lists ---------------------------------------------------------------------------------


def test_a_hostfile_names_hosts_and_slots(load):
    spec = load("# lab\ngpu1 slots=8\n\ngpu2 slots=4 max_slots=9 # here\ncpu[1-2]:2\nbare\n", "")
    assert [(host.name, host.resources.cpu) for host in spec.hosts] == [
        ("gpu1", 8), ("gpu2", 4), ("cpu1", 2), ("cpu2", 2), ("bare", "auto"),
    ]  # fmt: skip


def test_a_list_of_hosts_and_slots_is_a_cluster():
    spec = load_cluster("local,a:4,b[1,3]:2", ssh_config=None)
    assert [(host.name, host.resources.cpu) for host in spec.hosts] == [
        ("local", "auto"), ("a", 4), ("b1", 2), ("b3", 2),
    ]  # fmt: skip
    assert [host.name for host in spec.remote_hosts] == ["a", "b1", "b3"]
    assert load_cluster("local").remote_hosts == ()


def test_mistakes_in_a_hostfile_name_their_lines(mistakes):
    text = "a slots=8\nb slot=3\nc slots=x\na slots=1\nd[2-1] slots=1\ne:0\n"
    assert [line[: line.index(": ")] for line in mistakes(text, "")] == [
        "line 2", "line 3", "line 5", "line 6",
    ]  # fmt: skip
    assert mistakes(text, "")[0].endswith("did you mean 'slots'? expected `host slots=8`")
    assert mistakes("a slots=8\na slots=1\n", "") == [
        "line 2: 'a' is there already, expected every host once"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:4,a:2", "'a' is there already"),
        ("a:4,ann@a:2", "'ann@a' is there already, as 'a'"),
        ("a:x,b", "'x' slots"),
        ("a:0,b", "'0' slots"),
        ("a:2222,b", "a port is written in cluster.yml"),
        ("a,,b", "names no host"),
        ("a:4,b[3-1]", "backwards"),
        ("cluster.yml", "there is no file"),
        ("some/where", "there is no file"),
        ("clustre", "there is no file"),
    ],
)
def test_what_is_no_list_is_refused(text, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=problem):
        load_cluster(text, ssh_config=None)


def test_a_missing_file_given_as_a_path_is_never_taken_for_a_host(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        load_cluster(tmp_path / "a:4")


# ---- beside --------------------------------------------------------------------------------------


def test_a_cluster_spec_passes_through():
    spec = ClusterSpec(hosts=(HostSpec(name="x"),))
    assert load_cluster(spec) is spec


def test_reading_a_host_list_imports_no_sockets_no_torch_and_no_paramiko(tmp_path):
    path = tmp_path / "c.yml"
    path.write_text("hosts: [local, a]")
    script = (
        "import sys, json; from actorrl.runtime.hosts import load_cluster;"
        "load_cluster(sys.argv[1], ssh_config=None);"
        "print(json.dumps([m for m in ('zmq', 'torch', 'paramiko') if m in sys.modules]))"
    )
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
