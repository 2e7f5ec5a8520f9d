"""`actorrl list algos|envs|runs|examples`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import click

from actorrl.cli.options import where_results_are
from actorrl.errors import ConfigError, RunFolderError
from actorrl.paths import expanded


@click.command("list")
@click.argument("what", type=click.Choice(["algos", "envs", "runs", "examples"]))
@where_results_are
def command(what: str, results: str | None) -> None:
    """List algorithms, environments, runs or packaged examples, one a line."""
    lines: dict[str, Callable[[], list[str]]] = {
        "algos": _algos,
        "envs": _envs,
        "runs": lambda: _runs(results),
        "examples": _examples,
    }
    for line in lines[what]():
        click.echo(line)


def _algos() -> list[str]:
    from actorrl.algorithms.registry import names

    return sorted(names())


def _envs() -> list[str]:
    """Ids that run under their own name; import paths of classes and functions work as well."""
    import gymnasium

    from actorrl.envs.registry import import_plugin, successor

    with contextlib.suppress(ConfigError):  # without the atari extra there are no ALE/ ids
        import_plugin("ALE/")
    ids = [env_id for env_id in gymnasium.registry if not env_id.startswith("GymV")]
    return sorted(env_id for env_id in ids if successor(env_id)[0] == env_id)


def _runs(results: str | None) -> list[str]:
    from actorrl.experiment.run_folder import RunFolder, list_runs

    if results is not None and not expanded(results).is_dir():
        raise RunFolderError(f"--results: {results} is no folder, expected one with runs in it")
    lines = []
    for name in list_runs(results):
        status = RunFolder.open(name, results).read_status()
        if status is None:
            lines.append(f"{name}  (no status)")
        else:
            lines.append(
                f"{name}  {status.state}, iteration {status.training_iteration}, "
                f"{status.timesteps_total} env steps"
            )
    return lines


def _examples() -> list[str]:
    from actorrl.cli.tuned_file import example_names

    return example_names()
