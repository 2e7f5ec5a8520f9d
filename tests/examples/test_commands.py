"""The shell commands of RLlib's documents, with `actorrl` in the place of its scripts.

`documents/commands.txt` has them as they were written (S0 of 2017 to S4 of 2018). Added here: an
end after one iteration, and where results go; paths that the documents made up are replaced.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actorrl.cli.main import run
from actorrl.cli.request import read_request
from actorrl.envs.film import missing

COMMANDS = (Path(__file__).parent / "documents" / "commands.txt").read_text().splitlines()
ONE_ITERATION = ("--stop", "training_iteration=1", "--quiet")
TUNED = """
cartpole-ppo:
    env: CartPole-v1
    run: PPO
    stop: {training_iteration: 1}
    config:
        framework: torch
        gamma: 0.99
        lr: 0.0003
        num_workers: 1
        observation_filter: MeanStdFilter
        num_sgd_iter: 6
        vf_loss_coeff: 0.01
        model: {fcnet_hiddens: [32], fcnet_activation: linear, vf_share_layers: true}
"""


def words(document: str, *parts: str) -> list[str]:
    """The one command of a document that has these parts, as actorrl's words."""
    (line,) = (c for c in COMMANDS if c.startswith(document) and all(p in c for p in parts))
    text = re.sub(r"^\w+ (?:python \S*?|rllib )(train|rollout)(?:\.py)?", r"\1", line)
    assert text.startswith(("train", "rollout"))
    return shlex.split(text, comments=True)


def asked(arguments: Sequence[str]) -> dict[str, object]:
    """What `train` makes of the words, without starting anything."""
    import click

    from actorrl.cli.launch import command

    with click.Context(command) as context:
        flags = dict.fromkeys((p.name for p in command.params), None)
        parsed, _, _ = command.make_parser(context).parse_args(list(arguments[1:]))
        flags |= {"assignments": (), "stop": (), "torch": False, **parsed}
    request = read_request(arguments, flags)
    return {"algo": request.algo, "config": request.config}


def test_a_typing_error_of_the_first_document_is_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has a zero in PP0."""
    command = words("S0", "--alg")
    assert run(command) == 2
    assert "--alg: unknown algorithm 'PP0', did you mean 'PPO'?" in capsys.readouterr().err
    config = asked([word.replace("PP0", "PPO") for word in command])["config"]
    assert config.train_batch_size == 10_000  # type: ignore[attr-defined]
    assert config.notices == ["timesteps_per_batch: is called train_batch_size now"]  # type: ignore[attr-defined]


def test_a_dqn_agent_is_trained_and_rolled_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["--results", str(tmp_path)]
    train = words("S1", "train.py --run DQN")
    assert run([*train, *there, *ONE_ITERATION, "--workers", "0", "--name", "dqn"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("notice: 'CartPole-v0' runs as its successor 'CartPole-v1'") == 1
    (checkpoint,) = (tmp_path / "dqn" / "checkpoints").iterdir()
    rollout = words("S1", "rollout.py")
    rollout[1] = str(checkpoint)
    assert run([*rollout, "--episodes", "2"]) == 0
    printed_now = capsys.readouterr()
    assert "2 episodes, acting greedily: mean" in printed_now.out
    assert "notice: 'CartPole-v0' runs as" in printed_now.err


def test_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words("S1", "--help")) == 0
    assert "--env" in capsys.readouterr().out


@pytest.mark.skipif(missing() is not None, reason=f"films need {missing()}")
def test_eight_workers_with_videos_are_understood() -> None:
    pytest.importorskip("ale_py")
    request = asked(words("S1", "monitor"))
    config = request["config"]
    assert (request["algo"], config.num_workers, config.record_video) == ("A2C", 8, True)  # type: ignore[attr-defined]
    assert config.notices == ["monitor: is called record_video now"]  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(missing() is not None, reason=f"films need {missing()}")
def test_eight_workers_with_videos_play_pong(tmp_path: Path) -> None:
    pytest.importorskip("ale_py")
    command = words("S1", "monitor")
    assert run([*command, "--results", str(tmp_path), "--name", "pong", *ONE_ITERATION]) == 0
    (film,) = (tmp_path / "pong" / "videos").iterdir()
    assert film.stat().st_size > 1000


def test_a_tuned_file_in_rllibs_form_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words("S1", "-f")
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text(TUNED)
    command[command.index("-f") + 1] = str(tuned)
    assert run([*command, "--results", str(tmp_path), "--name", "tuned", "--quiet"]) == 0
    assert (tmp_path / "tuned" / "result.json").exists()


@pytest.mark.parametrize("document", ["S2", "S4"])
def test_the_shortest_command_trains_ppo(
    tmp_path: Path, document: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words(document, "PPO")
    there = ["--results", str(tmp_path), "--name", "run", "--workers", "0"]
    assert run([*command, *there, *ONE_ITERATION]) == 0
    assert capsys.readouterr().out.count("notice: 'CartPole-v0'") == 1


def test_a_grid_of_settings_is_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words("S4", "grid-search")
    tuned = tmp_path / "grid.yaml"
    tuned.write_text("g: {run: PPO, env: CartPole-v1, config: {lr: {grid_search: [0.1, 0.2]}}}")
    command[command.index("-f") + 1] = str(tuned)
    assert run(command) == 2
    error = capsys.readouterr().err
    assert "lr: grid_search tries several values" in error
    assert "a run for each with --set lr=VALUE" in error
    tuned.write_text("g: {run: PPO, env: CartPole-v1, stop: {training_iteration: 1}}")
    here = ["--results", str(tmp_path), "--name", "one", "--workers", "0", "--quiet"]
    assert run([*command, "--set", "lr=0.1", *here]) == 0
    assert json.loads((tmp_path / "one" / "params.json").read_text())["config"]["lr"] == 0.1


def test_the_address_of_a_cluster_is_answered_with_what_took_its_place() -> None:
    """S0: "by passing the address of the main redis shard into train.py with --redis-address"."""
    command = [word.replace("PP0", "PPO") for word in words("S0", "--alg")]
    config: Any = asked([*command, "--redis-address", "10.0.0.1:6379"])["config"]
    (notice,) = (line for line in config.notices if "redis" in line)
    assert "no cluster to join" in notice and "--hosts FILE" in notice
