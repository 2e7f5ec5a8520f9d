"""Which checkpoint `evaluate` takes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actorrl.cli.evaluate import find_checkpoint
from actorrl.cli.main import run
from actorrl.errors import CheckpointError
from actorrl.experiment.checkpoints import CheckpointKeeper
from actorrl.experiment.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "first")


def test_a_run_stands_for_its_newest_whole_checkpoint(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper = CheckpointKeeper(folder)
    state = {"weights": np.zeros(3, np.float32)}
    kept = keeper.save(1, state, {"algo": "APEX"})
    newest = keeper.save_recovery(state, {"algo": "APEX"})
    assert find_checkpoint(str(folder.path), None) == newest
    assert find_checkpoint("first", str(folder.path.parent)) == newest
    assert find_checkpoint(str(kept), None) == kept
    (newest / "arrays.safetensors").unlink()
    assert find_checkpoint(str(folder.path), None) == kept
    assert "notice: passed over" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_is_told(folder: RunFolder) -> None:
    with pytest.raises(CheckpointError, match="no whole checkpoint yet"):
        find_checkpoint(str(folder.path), None)


def test_another_algorithms_checkpoint_is_refused(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    CheckpointKeeper(folder).save(1, {"weights": np.zeros(1)}, {"algo": "APEX"})
    assert run(["rollout", str(folder.path), "--run", "A3C", "--env", "CartPole-v1"]) == 2
    assert "was trained by APEX, not by A3C" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "~nobody-here/run"],
        ["evaluate", "run", "--results", "~nobody-here"],
        ["launch", "-f", "~nobody-here/file.yaml"],
        ["launch", "--algo", "PPO", "--env", "CartPole-v1", "--config", "~nobody-here/s.yaml"],
        ["launch", "--algo", "PPO", "--env", "CartPole-v1", "--hosts", "~nobody-here/hosts.yaml"],
        ["list", "runs", "--results", "~nobody-here"],
    ],
)
def test_the_home_folder_of_nobody_is_a_path_that_is_not_there(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) in (1, 2)
    said = capsys.readouterr().err
    assert "~nobody-here" in said and "Traceback" not in said


@pytest.mark.parametrize("words", [["--episodes", "0"], ["--video", "somewhere"]])
def test_bad_options_exit_2(folder: RunFolder, words: list[str]) -> None:
    assert run(["evaluate", str(folder.path), *words]) == 2


def test_a_folder_that_is_no_checkpoint_is_answered_with_the_one_in_it(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = CheckpointKeeper(folder).save(1, {"weights": np.zeros(1)}, {"algo": "APEX"})
    assert run(["evaluate", str(folder.checkpoints)]) == 2
    assert f"no checkpoint, did you mean {kept}?" in capsys.readouterr().err
    (tmp_path / "half").mkdir()
    assert run(["evaluate", str(tmp_path / "half")]) == 2
    assert "half: has no manifest.json" in capsys.readouterr().err
