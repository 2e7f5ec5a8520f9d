"""What a user gets wrong: one screen says what, why and what to do; nothing is left behind."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from actorrl.algorithms.a2c import A2C as A2CAlgorithm
from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.ppo import PPO
from actorrl.cli.main import run as run_command
from actorrl.errors import EXIT_FAILED, EXIT_USAGE, CheckpointError
from actorrl.experiment.ownership import start_of
from actorrl.experiment.run_folder import RunFolder
from tests.system import runs

Refused = Callable[..., list[str]]

A2C = ["--algo", "A2C", "--env", "CartPole-v1", "--workers", "0", "--seed", "1"]
SCREEN = 24

ROBOT = """
import gymnasium as gym
import numpy as np

class Robot(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config):
        self.fails, self.steps = config["fails"], 0

    def reset(self, *, seed=None, options=None):
        if self.fails == "reset":
            raise ValueError("the robot is asleep")
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.fails == "at once" or (self.fails == "later" and self.steps > 50):
            raise ValueError("the robot fell")
        return np.zeros(2, np.float32), 1.0, False, False, {}
"""


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Refused:
    """Runs a command that must fail, in a home of its own; the lines of its stderr.

    In this process: everything here ends before, or without, any other process.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    def command(*words: str, code: int = EXIT_USAGE) -> list[str]:
        sys.modules.pop("robot", None)
        capfd.readouterr()
        assert run_command(words) == code, capfd.readouterr()
        lines = capfd.readouterr().err.splitlines()
        assert 1 <= len(lines) <= SCREEN, lines
        assert not any("actorrl/" in line and "File " in line for line in lines), "our stack"
        return lines

    return command


@pytest.fixture
def launch_refused(refused: Refused, tmp_path: Path) -> Refused:
    """The same for a launch, whose run folder must not be made."""

    def launch(*words: str) -> list[str]:
        lines = refused("launch", *words, "--name", "run", "--results", "results")
        assert not (tmp_path / "results").exists()
        return lines

    return launch


def with_env(env: str) -> list[str]:
    return ["--algo", "A2C", "--env", env, "--workers", "0"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--algo", "APX", *A2C[2:]], ["--algo: unknown algorithm 'APX', did you mean 'APEX'?"]),
        (["--run", "IMPLA", *A2C[2:]], ["--run: unknown algorithm 'IMPLA'", "'IMPALA'?"]),
        (["--algo", "PP0", *A2C[2:]], ["--algo: unknown algorithm 'PP0'", "did you mean 'PPO'?"]),
        (with_env("CartPol-v1"), ["--env: unknown environment 'CartPol-v1'", "'CartPole-v1'?"]),
        ([*A2C, "--set", "num_workerz=1"], ["num_workerz: unknown setting", "'num_workers'?"]),
        ([*A2C, "--set", "model.fcnet_hidens=[8]"], ["model.fcnet_hidens:", "'fcnet_hiddens'?"]),
        ([*A2C, "--stop", "timestep_total=3"], ["timestep_total: unknown result key", "steps_tot"]),
        ([*A2C, "--set", "lr=fast"], ["lr: ", "fast", "expected"]),
        ([*A2C, "--set", "train_batch_size=[1]"], ["train_batch_size: ", "expected"]),
        (["--algo", "A2C", "--env", "CartPole-v1", "--workers", "-2"], ["--workers: ", "-2"]),
        ([*A2C, "--set", "num_envs_per_worker=-1"], ["num_envs_per_worker: ", "-1"]),
        ([*A2C, "--checkpoint-freq", "-1"], ["--checkpoint-freq: ", "-1"]),
        ([*A2C, "--framework", "tf2"], ["--framework: ", "tf2", "torch"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) and value[0].startswith("--") else "",
)
def test_a_mistake_is_named_as_the_user_wrote_it_with_what_is_accepted(
    words: list[str], expected: list[str], launch_refused: Refused
) -> None:
    lines = launch_refused(*words)
    first = lines[0]
    assert first.startswith("error: "), first
    for part in expected:
        assert part in first, first


def test_all_mistakes_are_told_at_once(launch_refused: Refused) -> None:
    words = ["--algo", "A2C", "--env", "CartPol-v1", "--set", "lr=-1", "--stop", "nothing=1"]
    lines = launch_refused(*words)
    assert len(lines) == 3 and all(line.startswith("error: ") for line in lines)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broken.yaml", "lr: [1, 2\ngamma: 0.9\n"),
        ("broken.json", '{"lr": 0.001,, "gamma": 0.9}'),
        ("list.yaml", "- lr\n- gamma\n"),
        ("noise.yml", "\x00\x01\x02"),
    ],
)
def test_a_config_file_that_is_no_mapping_is_named(
    name: str, text: str, tmp_path: Path, refused: Refused, launch_refused: Refused
) -> None:
    (tmp_path / name).write_text(text)
    lines = launch_refused(*A2C, "--config", name)
    assert lines[0].startswith("error: ") and name in lines[0]
    lines = refused("launch", "-f", name)
    assert any(name in line for line in lines)


def test_a_config_file_that_is_not_there_is_named(launch_refused: Refused) -> None:
    lines = launch_refused(*A2C, "--config", "nowhere.yaml")
    assert "nowhere.yaml" in lines[0]


def check_traceback(lines: list[str], message: str) -> None:
    """The user's own comes first, then one line of ours."""
    assert lines[0].startswith("Traceback") and "robot.py" in lines[1]
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0]


@pytest.mark.parametrize(
    ("fails", "message"), [("reset", "the robot is asleep"), ("at once", "the robot fell")]
)
def test_an_environment_that_raises_in_the_check_shows_the_users_traceback_first(
    fails: str, message: str, tmp_path: Path, launch_refused: Refused
) -> None:
    (tmp_path / "robot.py").write_text(ROBOT)
    words = [*with_env("robot:Robot"), "--set", f"env_config.fails={fails}"]
    check_traceback(launch_refused(*words), message)


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.slow), "2"])
def test_an_environment_that_raises_later_ends_the_run_with_the_users_traceback_first(
    workers: str, tmp_path: Path
) -> None:
    (tmp_path / "robot.py").write_text(ROBOT)
    words = ["--algo", "A2C", "--env", "robot:Robot", "--workers", workers, "--name", "run"]
    words += ["--results", "results", "--set", "env_config.fails=later"]
    done = runs.actorrl("launch", *words, home=tmp_path)
    assert done.returncode == EXIT_FAILED, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) <= SCREEN
    assert not any("actorrl/" in line and "File " in line for line in lines), "our stack"
    check_traceback(lines, "the robot fell")
    assert (tmp_path / "results" / "run" / "params.json").exists(), "it had started"


def test_an_existing_run_folder_is_refused_and_left_as_it_was(
    tmp_path: Path, refused: Refused
) -> None:
    folder = tmp_path / "results" / "run"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    words = [*A2C, "--name", "run", "--results", "results"]
    lines = refused("launch", *words)
    assert "exists already" in lines[0] and "run" in lines[0]
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_results_folder_that_is_not_writable_is_refused(tmp_path: Path, refused: Refused) -> None:
    results = tmp_path / "results"
    results.mkdir(mode=0o500)
    lines = refused("launch", *A2C, "--results", "results")
    assert "results" in lines[0] and "writ" in lines[0]


def test_results_below_a_file_are_refused(tmp_path: Path, refused: Refused) -> None:
    """What root, too, cannot write to."""
    (tmp_path / "results").write_text("a file")
    lines = refused("launch", *A2C, "--results", "results/deeper")
    assert "results" in lines[0]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a finished run with two checkpoints."""
    home = tmp_path_factory.mktemp("whole")
    words = [*A2C, "--stop", "training_iteration=4", "--checkpoint-freq", "2", "--quiet"]
    done = runs.actorrl("launch", *words, "--name", "run", "--results", "results", home=home)
    assert done.returncode == 0, done.stderr
    return home


def damage_all(folder: Path, what: str) -> None:
    for checkpoint in sorted((folder / "checkpoints").iterdir()):
        damage(checkpoint, what)


def damage(checkpoint: Path, what: str) -> None:
    files = sorted(path for path in checkpoint.iterdir() if path.is_file())
    if what == "without its manifest":
        (checkpoint / "manifest.json").unlink()
    elif what == "of another version":
        manifest = checkpoint / "manifest.json"
        text = manifest.read_text()
        assert '"format_version": 1' in text
        manifest.write_text(text.replace('"format_version": 1', '"format_version": 7'))
    elif what == "with a flipped bit":
        target = checkpoint / "state.json"
        data = bytearray(target.read_bytes())
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
    elif what == "a pickle":
        for path in files:
            path.write_bytes(pickle.dumps(Bomb()))
    elif what == "cut off":
        largest = max(files, key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-100])
    else:
        shutil.rmtree(checkpoint)


class Bomb:
    """Pickled: makes a folder when it is loaded."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("exploded",)


# how checkpoints are damaged -> what is said of one that is named itself
DAMAGES = {
    "without its manifest": "has no manifest.json",
    "cut off": "its manifest says",
    "with a flipped bit": "state.json is damaged, its sha256 differs",
    "of another version": "format version 7, this actorrl reads 1",
    "a pickle": "its manifest.json is damaged",
    "gone": "",
}


@pytest.mark.parametrize("what", DAMAGES)
@pytest.mark.parametrize("command", ["resume", "evaluate"])
def test_a_run_without_a_whole_checkpoint_is_refused(
    what: str, command: str, whole_run: Path, tmp_path: Path, refused: Refused
) -> None:
    shutil.copytree(whole_run / "results", tmp_path / "results")
    folder = tmp_path / "results" / "run"
    shutil.rmtree(folder / "recovery", ignore_errors=True)
    damage_all(folder, what)
    lines = refused(command, str(folder))
    assert any(line.startswith("error: ") and "checkpoint" in line for line in lines)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("what", [what for what in DAMAGES if what != "gone"])
def test_a_damaged_checkpoint_is_refused_with_the_reason_and_never_executed(
    what: str, whole_run: Path, tmp_path: Path, refused: Refused
) -> None:
    checkpoint = tmp_path / "checkpoint_000004"
    shutil.copytree(whole_run / "results/run/checkpoints/checkpoint_000004", checkpoint)
    damage(checkpoint, what)
    lines = refused("evaluate", str(checkpoint))
    assert DAMAGES[what] in lines[0]
    with pytest.raises(CheckpointError, match=re.escape(DAMAGES[what])):
        A2CAlgorithm.from_checkpoint(str(checkpoint))
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_something_else_is_refused_naming_both(
    whole_run: Path, tmp_path: Path, refused: Refused
) -> None:
    checkpoint = str(whole_run / "results/run/checkpoints/checkpoint_000004")
    lines = refused("rollout", checkpoint, "--run", "PPO", "--env", "CartPole-v1")
    assert "was trained by A2C, not by PPO" in lines[0]
    lines = refused("rollout", checkpoint, "--run", "A2C", "--env", "Acrobot-v1")
    assert "observation_space is 'Box(" in lines[0] and "this run has 'Box(" in lines[0]
    with pytest.raises(CheckpointError, match="was trained by A2C"):
        PPO.from_checkpoint(checkpoint)
    other = A2CConfig().environment("Acrobot-v1").rollouts(num_workers=0).build(results=tmp_path)
    try:
        with pytest.raises(CheckpointError, match="observation_space is 'Box"):
            other.restore(checkpoint)
    finally:
        other.stop()


def test_a_run_that_another_driver_owns_is_refused_naming_its_pid(
    whole_run: Path, tmp_path: Path, refused: Refused
) -> None:
    shutil.copytree(whole_run / "results", tmp_path / "results")
    folder = tmp_path / "results" / "run"
    RunFolder.open(folder).acquire("another")
    owner = json.loads((folder / "owner.json").read_text())
    parent = psutil.Process().parent()
    assert parent is not None
    owner |= {"pid": parent.pid, "started": start_of(parent.pid)}
    (folder / "owner.json").write_text(json.dumps(owner))
    lines = refused("resume", str(folder), "--stop", "training_iteration=6")
    assert str(parent.pid) in lines[0] and "run" in lines[0]


def test_a_loss_that_is_no_number_leaves_a_checkpoint_from_before_and_shows_the_batch(
    tmp_path: Path, refused: Refused
) -> None:
    words = [*A2C, "--set", "lr=1e30", "--set", "grad_clip=null", "--quiet"]
    words += ["--stop", "timesteps_total=100000", "--name", "run", "--results", "results"]
    lines = refused("launch", *words, code=EXIT_FAILED)
    said = "\n".join(lines)
    assert re.search(r"^error: .*loss is \w+ at update \d+: lower lr", said, re.MULTILINE)
    assert re.search(r"^  obs \[\d+, \d+, 4\]: .* to .*, mean ", said, re.MULTILINE)
    assert list((tmp_path / "results" / "run" / "recovery").iterdir())
    assert run_command(["evaluate", "results/run", "--episodes", "1"]) == 0


def test_an_interrupted_checkpoint_is_passed_over_for_the_whole_one_before_it(
    whole_run: Path, tmp_path: Path, refused: Refused
) -> None:
    shutil.copytree(whole_run / "results", tmp_path / "results")
    folder = tmp_path / "results" / "run"
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    damage(newest, "cut off")
    lines = refused("evaluate", str(newest))
    assert lines[0].startswith("error: ")
    words = ["resume", str(folder), "--stop", "training_iteration=6", "--quiet"]
    done = runs.actorrl(*words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    iterations = [row["training_iteration"] for row in runs.rows_in(folder)]
    assert iterations == list(range(1, iterations[-1] + 1)) and iterations[-1] >= 6


@pytest.mark.parametrize("command", ["resume", "evaluate", "status"])
def test_an_unknown_run_is_answered_with_the_one_meant(
    command: str, whole_run: Path, refused: Refused
) -> None:
    lines = refused(command, "rum", "--results", str(whole_run / "results"))
    assert "did you mean 'run'?" in lines[0]
