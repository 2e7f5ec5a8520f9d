"""`actorrl doctor`: which extras are installed here, and how the others are."""

from __future__ import annotations

import importlib.util

import click

from actorrl.errors import how_to_install

# Extra of pyproject.toml -> what it is for, and the modules that it brings.
EXTRAS = {
    "atari": ("ALE/ environments", ("ale_py", "cv2")),
    "box2d": ("LunarLander and other environments", ("Box2D",)),
    "mujoco": ("MuJoCo environments", ("mujoco",)),
    "multi-agent": ("PettingZoo's environments", ("pettingzoo",)),
    "onnx": ("policies as ONNX files", ("onnx",)),
    "video": ("films of episodes", ("imageio", "imageio_ffmpeg", "pygame")),
}


@click.command("doctor")
def command() -> None:
    """Show which extras of actorrl are installed here, one a line."""
    for extra, (purpose, modules) in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        found = "installed"
        if missing:
            found = f"no {', '.join(missing)}: {how_to_install(extra)}"
        click.echo(f"{extra:12} {purpose:36} {found}")
