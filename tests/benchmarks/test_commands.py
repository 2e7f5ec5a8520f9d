"""A command whose counter stands still ends the window, with the reason."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness import commands


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_the_next_reading_is_one_that_differs(
    process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    readings = iter([(1.0, 5.0), (1.0, 5.0), (2.0, 7.0)])
    assert commands._next(lambda: next(readings), process, tmp_path / "log") == (2.0, 7.0)


def test_a_counter_that_stands_still_is_an_error(
    process: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_STILL_LIMIT_S", 0.05)
    with pytest.raises(RuntimeError, match=r"still at \(1.0, 5.0\) after 0.05 s"):
        commands._next(lambda: (1.0, 5.0), process, tmp_path / "log")
