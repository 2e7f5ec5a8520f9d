"""The live table and the plain lines, with a clock that is moved by hand."""

import io
import os
import sys

import pytest

from actorrl.experiment.progress import Progress, count, duration, number
from actorrl.experiment.stop import StopCriteria

RESULT = {
    "training_iteration": 3,
    "timesteps_total": 9_876_543,
    "episodes_total": 123_456,
    "episode_reward_mean": -1234.56,
    "episode_reward_min": -99_999.0,
    "episode_reward_max": 123_456.0,
    "episode_len_mean": 12_345.6,
    "env_steps_per_s": 123_456.7,
    "updates_per_s": 1234.5,
    "num_updates": 9_876_543,
    "samples_per_insert": 4.02,
    "policy_lag_mean": 1.27,
    "policy_lag_max": 55,
    "num_healthy_workers": 128,
    "num_restarts": 1,
    "evaluation": {"episode_reward_mean": 321.0},
}
BOTTLENECK = "learner waits 81 % for samples: add rollout workers (--workers)"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(criteria=None, stream=None, **options):
    clock, stream = Clock(), stream or io.StringIO()
    name = "APEX_ALE_Pong-v5_2025-01-02_12-33-01"
    stop = StopCriteria(criteria or {})
    progress = Progress("APEX", "ALE/Pong-v5", name, stop, stream=stream, clock=clock, **options)
    return progress, clock, stream


@pytest.mark.parametrize("criteria", [{}, {"timesteps_total": 1e8}, {"episode_reward_mean": 2e5}])
def test_the_table_fits_80_columns_without_cutting_anything(criteria):
    progress, clock, _ = make(criteria)
    for i in range(3):
        clock.now += 3600.0
        progress.update({**RESULT, "timesteps_total": 4_000_000 * i}, BOTTLENECK)
    text = progress.render(80)
    assert all(len(line) == 80 for line in text.splitlines())
    assert "…" not in text
    for shown in ("-1,235", "(-99,999 to", "123,456)", "(length", "12,346)", "(1 restart)"):
        assert shown in text
    assert BOTTLENECK in text
    assert "3:00:00 elapsed" in text


def test_ordinary_numbers_need_no_second_line():
    progress, _, _ = make({"timesteps_total": 1e8})
    ordinary = {"episode_reward_min": -21.0, "episode_reward_max": 500.0, "episodes_total": 1234}
    progress.update({**RESULT, "episode_reward_mean": -20.5, "episode_len_mean": 500, **ordinary})
    text = progress.render()
    assert "-20.5 (-21 to 500)" in text and "1,234 (length 500)" in text
    assert len(text.splitlines()) == 8


@pytest.mark.parametrize("width", [60, 79, 120, 200])
def test_other_widths_are_filled_at_most(width):
    progress, _, _ = make({"timesteps_total": 1e8})
    progress.update(RESULT, BOTTLENECK)
    text = progress.render(width)
    assert {len(line) for line in text.splitlines()} == {min(width, 100)}
    assert "…" not in text


def test_the_bar_goes_toward_the_nearest_criterion_and_time_runs_on_between_rows():
    progress, clock, _ = make({"timesteps_total": 1000, "episode_reward_mean": 1e6})
    for steps in (100, 200, 300):
        clock.now += 10.0
        progress.update({**RESULT, "timesteps_total": steps})
    line = next(x for x in progress.render().splitlines() if "timesteps_total" in x)
    assert "300 of 1,000" in line and "30 %, 1:10 left" in line and "━" in line
    clock.now += 5.0
    assert "1:05 left" in progress.render()
    clock.now += 500.0
    assert "0:00 left" in progress.render()


def test_before_the_first_result_the_table_says_so():
    progress, _, _ = make()
    assert "no result yet" in progress.render()


def test_without_criteria_the_table_says_how_the_run_ends():
    progress, _, _ = make()
    progress.update(RESULT)
    assert "until Ctrl-C" in progress.render()


def test_rows_that_an_algorithm_does_not_have_are_left_out():
    progress, _, _ = make()
    progress.update({"timesteps_total": 5, "episode_reward_mean": None})
    text = progress.render()
    assert "samples/insert" not in text and "policy lag" not in text
    assert "reward          -" in text


def test_a_plain_line_comes_at_once_then_every_ten_seconds_and_at_the_end():
    progress, clock, stream = make({"timesteps_total": 2e7}, interactive=False)
    with progress:
        for _ in range(25):
            clock.now += 1.0
            progress.update({**RESULT, "training_iteration": int(clock.now)}, BOTTLENECK)
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["0:01", "0:11", "0:21", "0:25"]
    assert "iter 25" in lines[-1] and "49 % to timesteps_total" in lines[-1]
    assert lines[-1].endswith(f"[{BOTTLENECK}]")
    assert "\x1b" not in stream.getvalue()


def test_nothing_is_printed_twice_at_the_end():
    progress, clock, stream = make(interactive=False)
    with progress:
        clock.now = 1.0
        progress.update(RESULT)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_stream_that_is_no_terminal_gets_plain_lines():
    progress, _, stream = make()
    with progress:
        progress.update(RESULT)
        progress.note("rollout/3 restarted")
    assert stream.getvalue().splitlines()[1] == "rollout/3 restarted"


@pytest.mark.parametrize("interactive", [True, False])
def test_quiet_prints_nothing(interactive):
    progress, _, stream = make(interactive=interactive, quiet=True)
    with progress:
        progress.update(RESULT, BOTTLENECK)
        progress.note("something")
    assert stream.getvalue() == ""


def test_on_a_terminal_the_last_row_stays_on_the_screen_and_notes_are_above(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    progress, _, stream = make(interactive=True)
    with progress:
        progress.update(RESULT, BOTTLENECK)
        progress.note("[b]rollout/3[/b] restarted")
    text = stream.getvalue()
    assert "[b]rollout/3[/b] restarted" in text
    assert text.index("restarted") < text.rindex("9,876,543")


def test_a_live_table_leaves_errors_alone_that_go_elsewhere(monkeypatch, capfd):
    """`actorrl launch ... 2>errors.log` on a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    screen, its_end = os.openpty()
    with open(its_end, "w") as stream:
        progress, _, _ = make(interactive=None, stream=stream)
        with progress:
            print("a warning", file=sys.stderr)
    assert capfd.readouterr().err == "a warning\n"
    assert b"a warning" not in os.read(screen, 1 << 16)
    os.close(screen)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (65.9, "1:05"), (3600, "1:00:00"), (90_000, "1 d 1 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (475.0, "475"),
        (20.55, "20.6"),
        (1.005, "1.00"),
        (0.01234, "0.0123"),
        (1234.5, "1,234"),
        (-20.96, "-21.0"),
        (25_000_000.0, "25.0M"),
        (1e15, "1.0e+15"),
        (float("inf"), "inf"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_counts():
    assert [count(v) for v in (None, 5, 1234567, 12_345_678)] == ["-", "5", "1,234,567", "12.3M"]
