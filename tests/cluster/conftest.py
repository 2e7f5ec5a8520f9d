from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.sandbox import network
from tests.cluster import sandboxes
from tests.cluster.runs import Run
from tests.cluster.sandboxes import Sandbox


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def namespaces() -> None:
    reason = network.why_not()
    if reason:
        pytest.skip(reason)


def _sandbox(factory: pytest.TempPathFactory, count: int, *options: str) -> Iterator[Sandbox]:
    directory = factory.mktemp("sandbox")
    try:
        yield sandboxes.up(directory, count, *options)
    finally:
        sandboxes.down(directory)


@pytest.fixture(scope="session")
def flat(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Three hosts in the driver's own network."""
    yield from _sandbox(tmp_path_factory, 3)


@pytest.fixture(scope="session")
def behind_jump(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A host whose SSH server is reached through a jump host only; it can dial the driver."""
    yield from _sandbox(tmp_path_factory, 1, "--jump")


@pytest.fixture(scope="session")
def far_away(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A host behind two jump hosts, and nothing but SSH gets through either way."""
    yield from _sandbox(tmp_path_factory, 1, "--jump", "--jump", "--no-route")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The driver's home directory, with an empty ~/.ssh and no SSH agent."""
    path = tmp_path / "home"
    (path / ".ssh").mkdir(mode=0o700, parents=True)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return path


@pytest.fixture
def ssh_agent(monkeypatch, tmp_path) -> Iterator[None]:
    """An SSH agent without keys."""
    path = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as process:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield
        process.terminate()


@pytest.fixture
def locked_key(flat, tmp_path) -> Path:
    """The sandbox's key, with a passphrase."""
    path = tmp_path / "locked"
    shutil.copy(flat.key, path)
    change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", sandboxes.PASSPHRASE, "-f", path]
    subprocess.run(change, check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[list[str]], Run]]:
    """start(command) -> run in a folder of its own, killed at the end"""
    runs: list[Run] = []

    def start(command: list[str]) -> Run:
        runs.append(Run(tmp_path, command))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()
