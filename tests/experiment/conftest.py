"""Every test writes below its own folder, the notes of live runs included."""

import pytest

from actorrl.experiment.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def run(tmp_path):
    """A new run folder."""
    return RunFolder.create(tmp_path / "results", "run")
