"""The last lines name the exact commands that evaluate and resume."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from actorrl.cli.ending import last_lines, program_words
from actorrl.experiment.stop import StopCriteria


def test_a_finished_run_is_resumed_beyond_its_criterion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/my tools/actorrl", "launch"])
    stop = StopCriteria({"timesteps_total": 1000})
    lines = last_lines(Path("/runs/a b"), "reached", {"timesteps_total": 1100}, stop)
    assert lines[:2] == ["ended: reached", "run folder: /runs/a b"]
    evaluate, resume = (shlex.split(line.partition(":")[2]) for line in lines[2:])
    assert evaluate == ["/opt/my tools/actorrl", "evaluate", "/runs/a b", "--episodes", "20"]
    assert resume[1:] == ["resume", "/runs/a b", "--stop", "timesteps_total=2200"]


def test_an_interrupted_run_is_resumed_as_it_was() -> None:
    lines = last_lines(Path("/runs/a"), None, {"timesteps_total": 5}, StopCriteria({}))
    assert lines[0] == "stopped before the end, with a checkpoint"
    assert lines[-1].endswith("resume /runs/a")


def test_a_module_call_is_repeated_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/src/actorrl/__main__.py"])
    assert program_words() == [sys.executable, "-m", "actorrl"]
