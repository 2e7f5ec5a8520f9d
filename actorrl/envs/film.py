"""Episodes as films: what `render()` gives after each step, as MP4, an episode each.

imageio is of the extra `video`, and imported when the first frame comes.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np

from actorrl.errors import EnvironmentFailure, how_to_install

INSTALL = how_to_install("video")
_MIN_FPS, _MAX_FPS = 5, 60


def missing() -> str | None:
    """Which of the packages that write films is not installed."""
    names = ("imageio", "imageio_ffmpeg")
    return next((name for name in names if importlib.util.find_spec(name) is None), None)


def frame_of(env: Any) -> np.ndarray:
    """[H, W, 3] uint8 as `render()` returns it. Raises EnvironmentFailure for anything else."""
    try:
        frame = env.render()
    except Exception as error:
        raise EnvironmentFailure(f"render() raised {type(error).__name__}: {error}") from error
    if isinstance(frame, list) and frame:  # "rgb_array_list"
        frame = frame[-1]
    if not (isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3):
        raise EnvironmentFailure(
            f"render() returned {type(frame).__name__}, a film needs an array [height, width, 3]:"
            " give the environment a render_mode of 'rgb_array'"
        )
    return frame.astype(np.uint8, copy=False)


class Film:
    """One file, written frame by frame under another name, and whole from `close` on."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self._fps = min(max(fps, _MIN_FPS), _MAX_FPS)
        self._hidden = path.with_name(f".{path.name}")
        self._writer: Any = None

    def add(self, frame: np.ndarray) -> None:
        if self._writer is None:
            import imageio.v2 as imageio

            self.path.parent.mkdir(parents=True, exist_ok=True)
            # macro_block_size 2: sizes that are not multiples of 16 stay as they are, but even
            self._writer = imageio.get_writer(
                self._hidden,
                format="FFMPEG",
                fps=self._fps,
                macro_block_size=2,
            )
        self._writer.append_data(frame)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            os.replace(self._hidden, self.path)


class Filmed:
    """A vector of one environment, of either kind, that films its episodes while it is stepped.

    Files are `<title>-<number>.mp4`, counted on from `first`. Raises EnvironmentFailure where it
    cannot be rendered.
    """

    def __init__(self, vector: Any, folder: Path, title: str, first: int = 1) -> None:
        assert len(vector.envs) == 1
        self._vector = vector
        self._folder, self._title, self._first = folder, title, first
        self._film: Film | None = None
        self._ended = True
        self.num_frames = 0
        self.paths: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vector, name)

    def reset(self, *arguments: Any, **keywords: Any) -> Any:
        result = self._vector.reset(*arguments, **keywords)
        self._begin()
        return result

    def step(self, *arguments: Any) -> Any:
        """Under NEXT_STEP the step after an end is a reset."""
        is_reset = self._ended
        result = self._vector.step(*arguments)
        if is_reset:
            self._begin()
            return result
        self._shoot()
        self._ended = _has_ended(result)
        if self._ended:
            self._cut()
        return result

    def advance(self, actions: Any) -> Any:
        """As the vectors of environments with several agents have it."""
        (given,) = actions
        return [self.reset(0) if given is None else self.step(0, dict(given))]

    def close(self) -> None:
        self._cut()
        self._vector.close()

    def _begin(self) -> None:
        self._cut()
        self._ended = False
        rate = float(getattr(self._vector.envs[0], "metadata", {}).get("render_fps") or 30)
        path = self._folder / f"{self._title}-{self._first + len(self.paths)}.mp4"
        self._film = Film(path, rate)
        self._shoot()
        self.paths.append(str(path))

    def _shoot(self) -> None:
        assert self._film is not None
        self._film.add(frame_of(self._vector.envs[0]))
        self.num_frames += 1

    def _cut(self) -> None:
        if self._film is not None:
            self._film.close()
            self._film = None


def _has_ended(result: Any) -> bool:
    """Of a StepResult of one environment, or of the Tick of one with several agents."""
    ended = getattr(result, "ended", None)
    if ended is not None:
        return bool(ended)
    return bool(result.terminateds[0] or result.truncateds[0])
