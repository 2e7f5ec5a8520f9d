"""Each gate of gates.yaml: one seed of the quick ones, of all with `--all`, all seeds with
`--gates`; and the list itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actorrl.cli.tuned_file import example_names
from tests.learning.gates import Outcome, play, read_gates, record, table

GATES, SEEDS = read_gates()
BY_NAME = {gate.name: gate for gate in GATES}
NOT_PLAYED = {"pong-apex", "pong-impala"}  # hours; their curves are in benchmarks/results


def passes(name: str, seed: int, folder: Path) -> bool:
    outcome = play(BY_NAME[name], seed, folder)
    print(f"{name} seed {seed} {outcome}")
    if results := os.environ.get("ACTORRL_GATE_RESULTS"):
        record(BY_NAME[name], outcome, Path(results))
    if not outcome.passed:
        print(f"expected {BY_NAME[name].criterion}; its curve: {outcome.curve}")
    return outcome.passed


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "name",
    [pytest.param(gate.name, marks=[pytest.mark.slow] * (not gate.quick)) for gate in GATES],
)
def test_one_seed_learns(name: str, tmp_path: Path) -> None:
    assert passes(name, SEEDS[0], tmp_path)


@pytest.mark.gates
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", list(BY_NAME))
def test_every_seed_learns(name: str, seed: int, tmp_path: Path) -> None:
    assert passes(name, seed, tmp_path)


def test_every_packaged_example_is_a_gate() -> None:
    played = {word for gate in GATES for command in gate.commands for word in command}
    assert set(example_names()) - NOT_PLAYED <= played


def test_a_seed_that_is_run_again_takes_its_old_place_in_the_record(tmp_path: Path) -> None:
    gate = BY_NAME["cartpole-ppo"]
    for seed, passed, score in [(102, True, 480.0), (101, False, 20.0), (101, True, 490.0)]:
        record(gate, Outcome(seed, passed, score, 80_000, 100, 9.0, [(1000, 20.0)]), tmp_path)
    rows = [line for line in table(tmp_path).splitlines() if line.startswith("| cartpole-ppo")]
    assert ["101 | 490.00" in rows[0], "102 | 480.00" in rows[1]] == [True, True]
    assert len(rows) == 2 and (tmp_path / "gates.md").read_text() == table(tmp_path)
