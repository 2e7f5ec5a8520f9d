"""The scripts of RLlib's documents run, and differ from the documents in little and said ways.

`documents/` has the text as it was written (S1 about 2018, S3 about 2023; line breaks and
indentation were lost), `ported/` the scripts. What may differ: import lines, the bracket of
`ray.init()` and `ray.shutdown()`, Gymnasium's API, fewer iterations.
"""

from __future__ import annotations

import difflib
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
SCRIPTS = sorted(path.stem for path in (HERE / "documents").glob("s*.txt"))

IMPORT = r"\b(?:from [\w.]+ )?import [\w.]+(?: as \w+)?(?:, \w+)*"
RAY = r"(?:# Initialize Ray )?ray\.(?:init|shutdown)\(\)"
RANGE = re.compile(r"range\((\d+)\)")
GYMNASIUM = {
    "obs = env.reset()": "obs, info = env.reset()",
    "obs, reward, done, info = env.step(action)": (
        "obs, reward, terminated, truncated, info = env.step(action) done = terminated or truncated"
    ),
}


def compared(text: str) -> str:
    """On one line, without what may differ but Gymnasium's API."""
    text = " ".join(text.split())
    # A long call may be broken behind its bracket.
    text = re.sub(r"\( ", "(", text)
    for pattern in (IMPORT, RAY, RANGE.pattern):
        text = re.sub(pattern, "", text)
    return " ".join(text.split())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_differs_from_its_document_in_nothing_but_what_is_said(name: str) -> None:
    written = (HERE / "documents" / f"{name}.txt").read_text()
    ported = (HERE / "ported" / f"{name}.py").read_text()
    expected = compared(written)
    for old, new in GYMNASIUM.items():
        expected = expected.replace(old, new)
    differences = [
        line
        for line in difflib.ndiff(expected.split(), compared(ported).split())
        if line[0] in "+-"
    ]
    assert differences == []
    before, now = RANGE.findall(written), RANGE.findall(ported)
    assert len(before) == len(now)
    assert all(1 <= int(few) <= int(many) for few, many in zip(now, before, strict=True))


def test_the_comparison_sees_a_changed_word() -> None:
    written = (HERE / "documents" / "s3_basic.txt").read_text()
    assert compared(written) != compared(written.replace("lr=0.0001", "lr=0.001"))
    assert compared(written) != compared(written.replace("algo.save()", "algo.save(path)"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run folders go into a home of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    yield tmp_path


def run_script(name: str, **given: Any) -> dict[str, Any]:
    """As `python NAME.py` would, in this process; the names that it leaves behind."""
    return runpy.run_path(str(HERE / "ported" / f"{name}.py"), given, "__main__")


def test_the_basic_loop_of_2018_and_the_weights_of_every_worker(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`weights` is written for a session in which the loop has run."""
    names = run_script("s1_basic")
    agent = names["agent"]
    try:
        out = capsys.readouterr().out
        assert out.count("episode_reward_mean:") == 2 and names["result"]["timesteps_total"] > 0
        assert f"checkpoint saved at {home}" in out and Path(names["checkpoint"]).is_dir()
        run_script("s1_weights", agent=agent)
        everywhere = agent.optimizer.foreach_evaluator(
            lambda ev: ev.for_policy(lambda p: p.get_weights())
        )
        assert len(everywhere) == 2, "the driver's copy, and that of the one worker"
        for name, own in agent.local_evaluator.policy_map["default"].get_weights().items():
            np.testing.assert_array_equal(everywhere[1][name], own)
    finally:
        agent.stop()


def test_the_loop_with_evaluations_of_2023_and_inference_from_its_checkpoint(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = run_script("s3_basic")
    lines = capsys.readouterr().out.splitlines()
    assert [line[:18] for line in lines[::2]] == ["Iteration 0: rewar", "Iteration 1: rewar"]
    assert names["checkpoint_path"] in lines[1]
    inference = (HERE / "ported" / "s3_inference.py").read_text()
    there = tmp_path / "s3_inference.py"
    there.write_text(inference.replace("/path/to/checkpoint", names["checkpoint_path"]))
    played = runpy.run_path(str(there), {}, "__main__")
    assert capsys.readouterr().out.count("Total reward = ") == 2
    assert 1 <= played["total_reward"] <= 500


@pytest.mark.parametrize("name", ["s3_custom_env", "s3_multi_agent"])
def test_environments_that_never_end_run_as_written_and_have_no_reward_yet(
    home: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """reset() without a seed, four values from step(), no super().__init__()."""
    result = run_script(name)["result"]
    assert np.isnan(result["episode_reward_mean"]) and result["timesteps_total"] > 0
    assert result["training_iteration"] == 2
    printed = capsys.readouterr()
    assert printed.out.count("nan") == 2
    assert printed.err.count("old form") + printed.err.count("old Gym") == 1


def test_a_torch_model_of_the_users_trains(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that is learned is the model of the script."""
    names = run_script("s3_custom_model")
    assert capsys.readouterr().out.count("Reward: ") == 2
    policy = names["algo"].newest_policy()
    assert isinstance(policy.model.model, names["CustomModel"])
    layers = {name.split(".")[1] for name in policy.get_weights()}
    assert layers == {"shared_layers", "policy_head", "value_head"}
