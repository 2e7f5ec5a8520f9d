"""Rows in result.json, progress.csv and TensorBoard."""

import csv
import json
import math

import numpy as np
import pytest

from actorrl.errors import ConfigError
from actorrl.experiment.results import ResultWriter, flatten, read_results


def strict(text):
    """Parse JSON, refusing NaN and Infinity as the standard does."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def read_csv(run):
    with open(run.path / "progress.csv", newline="") as file:
        return list(csv.DictReader(file))


def row(i, **more):
    return {"training_iteration": i, "timesteps_total": 100 * i, "episode_reward_mean": 1.5, **more}


def test_each_row_is_one_line_of_strict_json(run):
    writer = ResultWriter(run)
    writer.write(row(1, episode_reward_mean=math.nan, info={"loss": np.float32("inf")}))
    writer.write(row(2, info={"loss": np.float64(0.5)}))
    lines = run.result_file.read_text().splitlines()
    assert strict(lines[0]) == row(1, episode_reward_mean=None, info={"loss": None})
    assert strict(lines[1]) == row(2, info={"loss": 0.5})
    assert read_results(run) == [strict(line) for line in lines]


def test_the_table_has_nested_keys_with_slashes_and_empty_cells_for_null(run):
    writer = ResultWriter(run)
    writer.write(row(1, episode_reward_mean=math.nan, info={"learner": {"loss": 2.0}}))
    assert read_csv(run) == [
        {
            "training_iteration": "1",
            "timesteps_total": "100",
            "episode_reward_mean": "",
            "info/learner/loss": "2.0",
        }
    ]


def test_a_new_key_rewrites_the_table_and_keeps_the_order_of_its_columns(run):
    writer = ResultWriter(run)
    writer.write(row(1))
    writer.write(row(2, evaluation={"episode_reward_mean": 9.0}))
    writer.write(row(3))
    table = read_csv(run)
    assert list(table[0]) == [*row(1), "evaluation/episode_reward_mean"]
    assert [r["evaluation/episode_reward_mean"] for r in table] == ["", "9.0", ""]


def test_a_key_that_is_missing_later_leaves_its_cell_empty(run):
    writer = ResultWriter(run)
    writer.write(row(1, extra=5, listed=[1, 2]))
    writer.write(row(2))
    assert [(r["extra"], r["listed"]) for r in read_csv(run)] == [("5", "[1, 2]"), ("", "")]


def test_a_resumed_run_appends_to_the_same_files(run):
    ResultWriter(run).write(row(1))
    ResultWriter(run).write(row(2, more=1))
    assert [r["training_iteration"] for r in read_results(run)] == [1, 2]
    assert [r["more"] for r in read_csv(run)] == ["", "1"]


def test_a_crash_between_or_within_writes_is_repaired_at_resume(run):
    ResultWriter(run).write(row(1))
    with open(run.result_file, "a") as file:
        file.write(json.dumps(row(2)) + "\n" + json.dumps(row(3))[:20])
    ResultWriter(run).write(row(3))
    assert [r["training_iteration"] for r in read_results(run)] == [1, 2, 3]
    lines = run.result_file.read_text().splitlines()
    assert [strict(line)["training_iteration"] for line in lines] == [1, 2, 3]
    assert [r["training_iteration"] for r in read_csv(run)] == ["1", "2", "3"]


def test_rewinding_drops_the_rows_that_will_be_done_again(run):
    writer = ResultWriter(run)
    for i in range(1, 6):
        writer.write(row(i))
    assert writer.rewind(3) == 2
    writer.write(row(4))
    assert [r["training_iteration"] for r in read_results(run)] == [1, 2, 3, 4]
    assert [r["training_iteration"] for r in read_csv(run)] == ["1", "2", "3", "4"]
    assert writer.rewind(10) == 0
    assert ResultWriter(run).rewind(0) == 4


def test_a_value_that_is_no_json_is_refused_and_nothing_is_written(run):
    with pytest.raises(ConfigError, match=r"^info/x: object cannot be written as JSON, expected"):
        ResultWriter(run).write(row(1, info={"x": object()}))
    assert read_results(run) == [] and not (run.path / "progress.csv").exists()


def test_flatten_joins_levels():
    assert flatten({"a": {"b": {"c": 1}}, "d": []}) == {"a/b/c": 1, "d": []}
