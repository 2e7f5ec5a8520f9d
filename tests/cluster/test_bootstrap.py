"""From a host list to hosts with code, interpreter and variables, on which an agent starts."""

from __future__ import annotations

import collections
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actorrl.errors import ConfigError, HostError, VersionError
from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.launchers import agent_process, code_sync, own, ssh
from actorrl.runtime.launchers.ssh import HostCheck
from tests.cluster.sandboxes import NOISE, Sandbox
from tests.cluster.test_check import entry

PATIENCE_S = 30


@pytest.fixture
def bootstrap() -> Iterator[Callable[[Path], list[HostCheck]]]:
    """bootstrap(host file) -> ready hosts; what was said is in `bootstrap.said`"""
    ready: list[HostCheck] = []

    def run(hosts: Path) -> list[HostCheck]:
        run.said = []
        found = ssh.bootstrap(load_cluster(hosts), lambda host, line: run.said.append(line))
        ready.extend(found)
        return found

    yield run
    for check in ready:
        check.close()


@pytest.fixture
def agent_says(monkeypatch):
    """agent_says(ready host, program) -> what an agent with this program prints"""

    def run(host: HostCheck, program: str) -> str:
        monkeypatch.setattr(agent_process, "_MAIN", program)
        process = host.agent("test-run", collections.Counter())
        process.start(b"")
        assert process.wait(PATIENCE_S) == 0, process.stderr_tail()
        said = process.stderr_tail()
        process.close()
        return said

    return run


@pytest.fixture
def project(tmp_path) -> Path:
    """A user's folder: a module, a file that is not wanted, a link, and where the host file is."""
    path = tmp_path / "project"
    (path / "secret").mkdir(parents=True)
    (path / "my_env.py").write_text("NAME = 'mine'\n")
    (path / "big.ckpt").write_text("not wanted")
    (path / "secret" / "key").write_text("not wanted")
    (path / "link.py").symlink_to("my_env.py")
    return path


@pytest.fixture
def hosts(flat, project):
    """hosts(**keys of the entry) -> host file for alice on the first host"""

    def write(name: str = "cluster.yml", **keys: object) -> Path:
        sync = {"source": str(project), "exclude": ["*.ckpt", "secret", "*.yml"]}
        return flat.cluster(project / name, entry(flat, **{"sync": sync, **keys}))

    return write


@pytest.fixture(autouse=True)
def clean(flat) -> Iterator[None]:
    """Users of the first host without what an earlier test has copied."""
    yield
    for user in ("alice", "spaced"):
        home = flat.home(flat.plan.hosts[0], user)
        subprocess.run(["find", home, "-mindepth", "1", "-delete"], check=True)


LOOK = """
import os, sys, actorrl, my_env, link
print(my_env.NAME, link.NAME, os.getcwd(), sorted({*os.listdir()} - {"__pycache__"}))
print(actorrl.__file__)
"""


def test_the_agent_finds_the_drivers_actorrl_and_the_users_modules(hosts, bootstrap, agent_says):
    [host] = bootstrap(hosts())
    assert host.place.python == host.spec.python
    said = agent_says(host, LOOK)
    base = "/home/alice/actorrl/cluster/.actorrl/code"
    assert f"mine mine {base}/source-" in said and "['link.py', 'my_env.py']" in said
    assert f"{base}/actorrl-" in said


def test_code_is_sent_once_per_content(hosts, bootstrap, project):
    bootstrap(hosts())
    assert [line.split("-")[0] for line in bootstrap.said] == ["sent actorrl", "sent source"]
    bootstrap(hosts())
    assert bootstrap.said == []
    (project / "my_env.py").write_text("NAME = 'other'\n")
    bootstrap(hosts())
    assert [line.split("-")[0] for line in bootstrap.said] == ["sent source"]


def test_too_much_code_is_refused_with_what_is_large(hosts, bootstrap, project, monkeypatch):
    monkeypatch.setattr(code_sync, "MAX_BYTES", 4 << 20)
    (project / "data").mkdir()
    (project / "data" / "frames").write_bytes(bytes(5 << 20))
    with pytest.raises(
        ConfigError, match=r"sync.source: .*sync.exclude, the largest are data \(5 MB"
    ):
        bootstrap(hosts())


def test_noisy_start_up_files_and_a_home_with_spaces(flat, project, bootstrap, agent_says):
    start_up = flat.home(flat.plan.hosts[0], "spaced") / ".bashrc"
    start_up.write_text(NOISE)
    address = f"spaced@{flat.addresses[0]}"
    setup = ["pwd; cat my_env.py"]
    sync = {"source": str(project)}
    one = {"host": address, "workdir": "~/a 'quoted' folder", "setup": setup, "sync": sync}
    [host] = bootstrap(flat.cluster(project / "cluster.yml", one))
    said = agent_says(host, LOOK)
    assert "/home/a home with spaces/a 'quoted' folder/.actorrl/code/source-" in said
    assert "noise" not in said


def test_setup_commands_run_once_in_the_source(hosts, bootstrap, flat):
    commands = ["echo $WORD; pwd", "touch ran-$(ls my_env.py)"]
    keys = {"setup": commands, "env": {"WORD": "said"}}
    [host] = bootstrap(hosts(**keys))
    assert bootstrap.said[-2:] == [f"ran {command}" for command in commands]
    log = flat.home(flat.plan.hosts[0], "alice") / "actorrl/cluster/.actorrl/prepare.log"
    assert f"said\n{host.place.directory}\n" in log.read_text()
    bootstrap(hosts(**keys))
    assert bootstrap.said == []


def test_a_setup_command_that_fails_is_named_with_what_it_said(hosts, bootstrap):
    with pytest.raises(HostError, match=r"`echo why; exit 3` failed\n(.*\n)*  why\n.*prepare.log"):
        bootstrap(hosts(setup=["true", "echo why; exit 3"]))


def write_wheel(folder: Path, name: str, version: str) -> None:
    """A package of one module, which says its version."""
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    folder.mkdir()
    folder.chmod(0o755)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{about}/RECORD": record}.items():
            wheel.writestr(path, text)


@pytest.mark.slow
def test_a_missing_virtual_environment_is_made_and_then_used(
    hosts, bootstrap, agent_says, monkeypatch, flat
):
    """On a host without internet, with packages from a folder there."""
    monkeypatch.setattr(own, "requirements", lambda: {"one_of_a_test": "0.7"})
    write_wheel(flat.home(flat.plan.hosts[0], "alice") / "wheels", "one_of_a_test", "0.7")
    file = hosts(env={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/home/alice/wheels"})
    file.write_text(file.read_text().replace(f"python: {flat.plan.python}", ""))
    try:
        [host] = bootstrap(file)
    except VersionError:
        pytest.skip("this machine's python3 has another minor version")
    venv = "/home/alice/actorrl/cluster/.venv"
    assert any(line.startswith(f"made {venv}") for line in bootstrap.said)
    assert host.place.python == f"{venv}/bin/python"
    assert "installed 1 packages" in bootstrap.said
    look = "import sys, my_env, one_of_a_test as one; print(sys.prefix, my_env.NAME, one.VERSION)"
    assert f"{venv} mine 0.7" in agent_says(host, look)
    [host] = bootstrap(file)
    assert bootstrap.said == [] and host.place.python == f"{venv}/bin/python"
    monkeypatch.setattr(own, "requirements", lambda: {"one_of_a_test": "0.8"})
    with pytest.raises(HostError, match=r"install` failed\n(.*\n)*.*one_of_a_test==0\.8"):
        bootstrap(file)


def test_variables_come_from_the_host_file_and_the_driver(
    hosts, bootstrap, agent_says, monkeypatch
):
    monkeypatch.setenv("TOKEN", "with 'quotes'\nand lines")
    keys = {"env": {"A": "1", "OMP_NUM_THREADS": "2"}, "pass_env": ["TOKEN", "NOT_SET"]}
    [host] = bootstrap(hosts(**keys))
    assert host.notes == ["pass_env: NOT_SET is not set here"]
    names = ["A", "TOKEN", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ACTORRL_RUN_ID", "HOME"]
    said = agent_says(host, f"import os; print([os.environ[name] for name in {names}])")
    assert said == str(["1", "with 'quotes'\nand lines", "2", "1", "test-run", "/home/alice"])


def test_nothing_is_started_when_a_required_host_fails(flat, tmp_path):
    names = [flat.addresses[0], f"{flat.addresses[1]}:2299"]
    with pytest.raises(HostError, match="2299 is closed"):
        ssh.bootstrap(load_cluster(flat.cluster(tmp_path / "c.yml", *names)))
    assert has_left(flat)


def has_left(flat: Sandbox) -> bool:
    """No session of the driver is open on the first host."""
    for _ in range(PATIENCE_S):
        pids = subprocess.check_output(
            ["ip", "netns", "pids", flat.plan.hosts[0].namespace], text=True
        ).split()
        commands = [Path(f"/proc/{pid}/cmdline") for pid in pids]
        if not any("rl" in path.read_text() for path in commands if path.exists()):
            return True
        subprocess.run(["sleep", "0.2"], check=True)
    return False


def test_a_host_that_is_not_required_is_left_out(flat, tmp_path, bootstrap):
    absent = {"host": f"{flat.addresses[1]}:2299", "required": False}
    path = flat.cluster(tmp_path / "cluster.yml", flat.addresses[0], absent)
    [host] = bootstrap(path)
    assert host.name == flat.addresses[0]
    assert any(line.startswith("left out, it is not required: ") for line in bootstrap.said)
