"""From a built Algorithm to an exit code."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from actorrl.cli.interrupts import Interrupts
from actorrl.cli.run import run_to_the_end, set_up_logging
from actorrl.errors import RunFailed
from actorrl.experiment.run_folder import RunFolder


class Failing:
    """An algorithm that fails as soon as anything is asked of it."""

    run_id = "run"
    info = SimpleNamespace(reward_threshold=None)

    def __init__(self, folder: Path, error: BaseException, left: list[int]) -> None:
        self.run_folder = str(folder)
        self.error = error
        self.left = left

    @property
    def notices(self) -> list[str]:
        raise self.error

    def stop(self) -> list[int]:
        return self.left


@pytest.mark.parametrize("error", [RunFailed("the learner is lost"), ValueError("a defect")])
@pytest.mark.parametrize("left", [[], [4711, 4712]])
def test_an_error_names_the_processes_that_could_not_be_ended(
    tmp_path: Path, error: Exception, left: list[int]
) -> None:
    folder = RunFolder.create(tmp_path, "first")
    folder.write_params({})
    error = type(error)(*error.args)  # notes are added to it
    with pytest.raises(type(error)) as caught:
        run_to_the_end(Failing(folder.path, error, left), {}, Interrupts(), True, None)
    said = [f"these processes could not be ended: {left}"] if left else []
    assert getattr(caught.value, "__notes__", []) == said


def test_what_is_logged_goes_where_stderr_goes_at_the_time(capsys, monkeypatch) -> None:
    """The live table takes stderr over, so as not to be written across."""
    logger = logging.getLogger("actorrl.tests.run")
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    set_up_logging(0)
    with contextlib.redirect_stderr(io.StringIO()) as taken:
        logger.warning("during the table")
    logger.warning("after it")
    assert "during the table" in taken.getvalue()
    assert "after it" in (said := capsys.readouterr().err) and "during" not in said
