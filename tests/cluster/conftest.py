from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.sandbox import network
from tests.cluster import sandboxes
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
    """Two hosts in the driver's own network."""
    yield from _sandbox(tmp_path_factory, 2)


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
