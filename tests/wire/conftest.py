from __future__ import annotations

import pytest

from actorrl.wire.shared_memory import MemoryClient
from tests.wire.memory_server import served


@pytest.fixture
def memory():
    with served() as memory:
        yield memory


@pytest.fixture
def client(memory):
    client = MemoryClient(memory.address)
    yield client
    client.close()
