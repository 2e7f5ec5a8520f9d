"""How errors look: lines without a stack of ours, the user's own traceback first."""

from __future__ import annotations

import pytest

from actorrl.cli.failures import MAX_TRACEBACK_LINES, show
from actorrl.errors import ConfigError, EnvironmentFailure, RunFolderError


def test_every_mistake_of_a_config_error_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(ConfigError(["lr: bad", "env: unknown"]))
    assert capsys.readouterr().err == "error: lr: bad\nerror: env: unknown\n"


def test_the_users_traceback_comes_before_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    show(EnvironmentFailure("environment 'Mine' failed in reset", user_traceback="Trace\nBoom\n"))
    assert capsys.readouterr().err == "Trace\nBoom\nerror: environment 'Mine' failed in reset\n"


def test_a_deep_traceback_still_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    show(EnvironmentFailure("failed", user_traceback="\n".join(map(str, range(500)))))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == MAX_TRACEBACK_LINES + 2
    assert lines[-2] == "499"


def test_other_errors_show_their_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(RunFolderError("it exists"))
    assert capsys.readouterr().err == "error: it exists\n"
