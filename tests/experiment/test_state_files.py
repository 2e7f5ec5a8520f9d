"""Small files and strict JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from actorrl.experiment.state_files import (
    append_line,
    json_line,
    read_json,
    read_json_lines,
    to_strict_json,
    write_atomically,
    write_json,
)


def test_a_write_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "status.json"
    write_json(path, {"a": 1, "long": "x" * 1000})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_a_write_that_fails_keeps_the_old_content_and_leaves_nothing(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old", durable=True)
    with pytest.raises(TypeError):
        write_atomically(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_reads_as_none(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    assert read_json(tmp_path / "f") is None
    assert read_json(tmp_path / "absent") is None


def test_half_a_line_that_a_crash_left_is_dropped_by_readers_and_the_next_append(tmp_path):
    path = tmp_path / "lines"
    append_line(path, '{"a": 1}\n')
    with open(path, "a") as file:
        file.write('{"a": 2, "b')
    assert read_json_lines(path) == [{"a": 1}]
    append_line(path, '{"a": 3}\n')
    assert path.read_text() == '{"a": 1}\n{"a": 3}\n'


def test_strict_json_has_null_for_nan_and_plain_numbers_for_numpy():
    value = {
        "nan": float("nan"),
        "inf": np.float32("inf"),
        "int": np.int64(3),
        "flag": np.bool_(True),
        "array": np.array([1.0, np.nan]),
        "path": Path("a/b"),
        "nested": {"t": (1, 2.5)},
        7: "key",
    }
    line = json_line(value)
    assert "NaN" not in line and "Infinity" not in line
    assert json.loads(line) == {
        "nan": None,
        "inf": None,
        "int": 3,
        "flag": True,
        "array": [1.0, None],
        "path": "a/b",
        "nested": {"t": [1, 2.5]},
        "7": "key",
    }


def test_a_value_without_a_form_in_json_is_named_by_its_key():
    with pytest.raises(TypeError, match="info/thing: set"):
        to_strict_json({"info": {"thing": {1, 2}}})


def test_an_array_of_another_library_becomes_a_list():
    assert to_strict_json({"a": torch.ones(2), "b": torch.tensor(3.0)}) == {"a": [1, 1], "b": 3}
