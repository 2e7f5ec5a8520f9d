from __future__ import annotations

import secrets

import pytest


@pytest.fixture
def run_id() -> str:
    return f"test-{secrets.token_hex(6)}"
