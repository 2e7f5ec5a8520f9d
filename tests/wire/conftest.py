from __future__ import annotations

import pytest

from tests.wire.memory_server import served


@pytest.fixture
def memory():
    with served() as memory:
        yield memory
