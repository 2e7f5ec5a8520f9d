"""What a run shows while it runs: a live table on a terminal, else one plain line per 10 s."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actorrl.experiment.estimate import Estimator, Goal
from actorrl.experiment.host_lines import Health, host_table, summary
from actorrl.experiment.stop import StopCriteria, lookup

REFRESH_PER_S = 2
PLAIN_INTERVAL_S = 10.0
MAX_WIDTH = 100
LABEL_WIDTH = 15
MIN_WIDTH = 78
"""Of two columns of metrics; a narrower table has one."""


class Progress:
    """The display of one run, used as a context manager by the command line around its loop.

    algo, env, run: shown at the top. stop: the bar goes toward the nearest of its criteria.
    stream, clock: where to write, and seconds that only grow. interactive: True for the table,
    False for plain lines, None to ask the stream. quiet: nothing at all. hosts: their health now;
    any thread calls it.

    On a terminal a thread draws the table twice a second from the newest `update`.
    """

    def __init__(
        self,
        algo: str,
        env: str,
        run: str,
        stop: StopCriteria,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        interactive: bool | None = None,
        quiet: bool = False,
        hosts: Callable[[], Sequence[Health]] = list,
    ) -> None:
        self._title = f"actorrl  {algo}  {env}"
        self._run = run
        self._stop = stop
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        self._interactive = _is_terminal(self._stream) if interactive is None else interactive
        self._quiet = quiet
        self._hosts = hosts
        self._estimator = Estimator(stop)
        self._started = self._updated = clock()
        # Read by the drawing thread: always replaced as a whole, never changed in place.
        self._shown: tuple[Mapping[str, Any], Goal | None, str] = ({}, None, "")
        self._last_line: float | None = None
        self._has_unprinted = False
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._interactive and not self._quiet:
            console = Console(file=self._stream)
            self._live = Live(
                console=console,
                get_renderable=self._table,
                refresh_per_second=REFRESH_PER_S,
                redirect_stderr=_is_terminal(sys.stderr),  # a file gets what is meant for it
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._has_unprinted:
            with contextlib.suppress(BrokenPipeError):  # the run has ended, read or not
                self._print_line()

    def update(self, result: Mapping[str, Any], bottleneck: str = "") -> None:
        """Show a new result row, and the sentence that names the bottleneck."""
        self._updated = self._clock()
        self._estimator.add(self._updated, result)
        self._shown = (dict(result), self._estimator.nearest(), bottleneck)
        self._has_unprinted = True
        due = self._last_line is None or self._updated - self._last_line >= PLAIN_INTERVAL_S
        if not self._interactive and due:
            self._print_line()

    def note(self, text: str) -> None:
        """Print a line of its own, such as a restart or a notice, above the table."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self._stream, flush=True)

    def render(self, width: int = 80) -> str:
        """The table as plain text, for tests and for those who embed it."""
        console = Console(width=width, color_system=None, force_terminal=False)
        with console.capture() as captured:
            console.print(self._table(width))
        return captured.get()

    # ---- plain lines ------------------------------------------------------------------------

    def _print_line(self) -> None:
        self._last_line = self._updated
        self._has_unprinted = False
        if not self._quiet:
            print(self._plain_line(), file=self._stream, flush=True)

    def _plain_line(self) -> str:
        result, goal, bottleneck = self._shown
        steps, rate = lookup(result, "timesteps_total"), lookup(result, "env_steps_per_s")
        parts = [
            duration(self._updated - self._started),
            f"iter {count(lookup(result, 'training_iteration'))}",
            f"reward {number(lookup(result, 'episode_reward_mean'))}",
            f"env steps {count(steps)} ({number(rate)}/s)",
            f"updates {count(lookup(result, 'num_updates'))}",
        ]
        if goal is not None:
            left = "" if goal.left_s is None else f", about {duration(goal.left_s)} left"
            parts.append(f"{int(100 * goal.fraction)} % to {goal.key} {number(goal.target)}{left}")
        if words := summary(self._hosts()):
            parts.append(words)
        return "  ".join(parts) + (f"  [{bottleneck}]" if bottleneck else "")

    # ---- the table --------------------------------------------------------------------------

    def _table(self, width: int | None = None) -> RenderableType:
        if width is None:
            width = self._live.console.width if self._live is not None else 80
        result, goal, bottleneck = self._shown
        elapsed = f"{duration(self._clock() - self._started)} elapsed"
        head = Table.grid(expand=True)
        head.add_column(overflow="fold")
        head.add_column(justify="right", no_wrap=True)
        head.add_row(Text(self._run), elapsed)
        parts: list[RenderableType] = [head]
        if result:
            parts += [_metrics(result, two_columns=width >= MIN_WIDTH), self._goal(goal)]
        else:
            parts.append(Text("starting, no result yet"))
        if (hosts := host_table(self._hosts())) is not None:
            parts.append(hosts)
        if bottleneck:
            parts.append(Text(bottleneck, style="yellow"))
        title = Text(self._title, style="bold", overflow="ellipsis")
        return Panel(Group(*parts), title=title, width=min(width, MAX_WIDTH))

    def _goal(self, goal: Goal | None) -> RenderableType:
        if goal is None:
            text = self._stop.describe()
            return Text(f"until {text}, no value yet" if text else "until Ctrl-C")
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(overflow="fold", ratio=1)
        line.add_column(width=20)
        line.add_column(justify="right", no_wrap=True, min_width=17)
        bar = ProgressBar(total=1.0, completed=goal.fraction)
        line.add_row(
            f"{goal.key} {number(goal.value)} of {number(goal.target)}", bar, self._left(goal)
        )
        return line

    def _left(self, goal: Goal) -> str:
        percent = f"{int(100 * goal.fraction)} %"
        if goal.left_s is None:
            return percent
        since = self._clock() - self._updated
        return f"{percent}, {duration(max(0.0, goal.left_s - since))} left"


def _metrics(result: Mapping[str, Any], two_columns: bool) -> RenderableType:
    """One or two columns of labels and values; a row whose values are all absent is left out."""
    rows = _METRIC_ROWS if two_columns else tuple((cell,) for row in _METRIC_ROWS for cell in row)
    grid = Table.grid(expand=True, padding=(0, 1))
    for _ in rows[0]:
        grid.add_column(width=LABEL_WIDTH, no_wrap=True, style="dim")
        grid.add_column(ratio=1, overflow="fold")
    for row in rows:
        cells = [(label, value) if (value := show(result)) else ("", "") for label, show in row]
        if any(value for _, value in cells):
            grid.add_row(*(text for cell in cells for text in cell))
    return grid


def _reward(result: Mapping[str, Any]) -> str:
    low, high = lookup(result, "episode_reward_min"), lookup(result, "episode_reward_max")
    span = "" if low is None else f" ({number(low)} to {number(high)})"
    return f"{number(lookup(result, 'episode_reward_mean'))}{span}"


def _episodes(result: Mapping[str, Any]) -> str:
    length = lookup(result, "episode_len_mean")
    mean = "" if length is None else f" (length {number(length)})"
    return f"{count(lookup(result, 'episodes_total'))}{mean}"


def _counted(total: str, rate: str) -> Callable[[Mapping[str, Any]], str]:
    def show(result: Mapping[str, Any]) -> str:
        return f"{count(lookup(result, total))} ({number(lookup(result, rate))}/s)"

    return show


def _plain(key: str) -> Callable[[Mapping[str, Any]], str]:
    def show(result: Mapping[str, Any]) -> str:
        value = lookup(result, key)
        return "" if value is None else number(value)

    return show


def _lag(result: Mapping[str, Any]) -> str:
    mean, most = lookup(result, "policy_lag_mean"), lookup(result, "policy_lag_max")
    return "" if mean is None else f"{number(mean)} (max {number(most)})"


def _workers(result: Mapping[str, Any]) -> str:
    restarts = lookup(result, "num_restarts")
    plural = "restart" if restarts == 1 else "restarts"
    shown = "" if restarts is None else f" ({count(restarts)} {plural})"
    return f"{count(lookup(result, 'num_healthy_workers'))}{shown}"


_Cell = tuple[str, Callable[[Mapping[str, Any]], str]]

_METRIC_ROWS: tuple[tuple[_Cell, ...], ...] = (
    (("reward", _reward), ("episodes", _episodes)),
    (
        ("env steps", _counted("timesteps_total", "env_steps_per_s")),
        ("updates", _counted("num_updates", "updates_per_s")),
    ),
    (("samples/insert", _plain("samples_per_insert")), ("policy lag", _lag)),
    (("evaluation", _plain("evaluation/episode_reward_mean")), ("workers", _workers)),
)


# ---- numbers as text ----------------------------------------------------------------------------


def count(value: float | None) -> str:
    """A whole number with separators, in millions from ten million on; `-` for none."""
    if value is None:
        return "-"
    return f"{value / 1e6:,.1f}M" if value >= 1e7 else f"{value:,.0f}"


def number(value: float | None) -> str:
    """A number in at most nine characters or so; `-` for none."""
    if value is None:
        return "-"
    if abs(value) >= 1e12:
        return f"{value:.1e}"
    if abs(value) >= 1e7:
        return f"{value / 1e6:,.1f}M"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return (
        f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
        if abs(value) >= 1
        else f"{value:.3g}"
    )


def duration(seconds: float) -> str:
    """`1:05`, `2:03:04`, `3 d 4 h`."""
    whole = int(seconds)
    if whole >= 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _is_terminal(stream: TextIO) -> bool:
    # A dumb terminal (Emacs' shell, many CI logs) cannot move the cursor.
    return not stream.closed and stream.isatty() and os.environ.get("TERM") not in ("dumb", None)
