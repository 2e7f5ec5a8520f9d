"""`actorrl evaluate` (RLlib's name: `rollout`): play episodes with a trained policy."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from actorrl.cli.options import where_results_are
from actorrl.errors import CheckpointError, RunFolderError
from actorrl.paths import expanded


@click.command("evaluate")
@click.argument("run_or_checkpoint")
@click.option("--episodes", type=click.IntRange(min=1), default=20, show_default=True, metavar="N")
@click.option("--stochastic", is_flag=True, help="Sample actions; without it, act greedily.")
@click.option(
    "--steps", type=click.IntRange(min=1), metavar="N",
    help="Play N env steps, one environment, instead of --episodes.",
)  # fmt: skip
@click.option(
    "--video", "--video-dir", "video", metavar="DIR", help="Films of the first greedy episodes."
)
@click.option("--no-render", is_flag=True, help="For RLlib's sake: nothing is shown anyway.")
@click.option("--out", metavar="FILE", hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--run", "--algo", "--alg", "algo", metavar="NAME", help="Refuse another algorithm.")
@click.option("--env", metavar="ENV", help="Play in this environment instead of the trained one.")
@where_results_are
def command(run_or_checkpoint: str, as_json: bool, **flags: Any) -> None:
    """Play episodes with the newest whole checkpoint of a run, or with the checkpoint given.

    Seeds are fixed: the same checkpoint gives the same numbers.
    """
    if flags["out"] is not None:
        click.echo(
            "notice: --out: steps are not written to a file, --json has the numbers", err=True
        )
    checkpoint = find_checkpoint(run_or_checkpoint, flags["results"])
    _check_algorithm(checkpoint, flags["algo"])

    from actorrl.algorithms.playing import evaluate_checkpoint

    # What an environment prints is no part of the one object.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        result = evaluate_checkpoint(
            checkpoint,
            episodes=flags["episodes"],
            steps=flags["steps"],
            explore=flags["stochastic"],
            env=flags["env"],
            video=flags["video"],
        )
    for notice in result["notices"]:
        click.echo(f"notice: {notice}", err=True)
    for path in result.get("videos", ()):
        click.echo(f"film: {path}", err=as_json)
    if as_json:
        click.echo(json.dumps(_as_object(result)))
    else:
        click.echo(_as_text(result, flags["stochastic"], checkpoint))


def find_checkpoint(run_or_checkpoint: str, results: str | None) -> Path:
    """A checkpoint's own folder, else the newest whole one of a run."""
    from actorrl.experiment.checkpoints import MANIFEST, newest_whole
    from actorrl.experiment.run_folder import RunFolder

    path = expanded(run_or_checkpoint)
    if (path / MANIFEST).is_file() or path.parent.name in ("checkpoints", "recovery"):
        return path
    damaged: list[str] = []
    try:
        folder = RunFolder.open(run_or_checkpoint, results)
    except RunFolderError:
        if path.is_dir():  # half a checkpoint, or a folder of some: whoever reads it says so
            return path
        raise
    found = newest_whole(folder, damaged)
    for line in damaged:
        click.echo(f"notice: passed over {line}", err=True)
    if found is None:
        raise CheckpointError(f"{folder.path}: this run has no whole checkpoint yet")
    return found


def _check_algorithm(checkpoint: Path, algo: str | None) -> None:
    """RLlib's `rollout` has to be told the algorithm; ours knows, and refuses another one."""
    if algo is None:
        return
    from actorrl.experiment.checkpoints import read_manifest

    trained_by = str(read_manifest(checkpoint).about.get("algo"))
    if trained_by.upper() != algo.upper():
        raise CheckpointError(f"{checkpoint}: was trained by {trained_by}, not by {algo}")


def _as_object(result: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("episodes", "episode_reward_mean", "episode_reward_min", "episode_reward_max")
    return {key: result[key] for key in keys}


def _as_text(result: Mapping[str, Any], stochastic: bool, checkpoint: Path) -> str:
    how = "sampling its actions" if stochastic else "acting greedily"
    return (
        f"{checkpoint}\n"
        f"{result['episodes']} episodes, {how}: mean {result['episode_reward_mean']:g}, "
        f"min {result['episode_reward_min']:g}, max {result['episode_reward_max']:g}"
    )
