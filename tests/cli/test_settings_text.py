"""Settings as users write them: values are what they look like, and a mistake names its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from actorrl.cli.settings_text import load_mapping, parse_assignment
from actorrl.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=1", ("a.b", 1)),
        ("lr=1e-4", ("lr", 1e-4)),
        ("lr=-1.5E+3", ("lr", -1500.0)),
        ("lr=1.0e-4", ("lr", 1e-4)),
        ("x=true", ("x", True)),
        ("x=a=b", ("x", "a=b")),
        ("x=[1, 2e3]", ("x", [1, 2000.0])),
        ("x={a: 1}", ("x", {"a": 1})),
        ("x=", ("x", None)),
        ("x=ALE/Pong-v5", ("x", "ALE/Pong-v5")),
    ],
)
def test_an_assignment_is_read_as_yaml(text: str, expected: tuple[str, object]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["lr", "=1", "x=[1", "x={a: 1, a: 2}", "x=" + "[" * 5000])
def test_an_assignment_without_sense_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_assignment(text)
    assert len(caught.value.messages) == 1 and "\n" not in caught.value.messages[0]


def test_mappings_come_inline_and_from_files(tmp_path: Path) -> None:
    assert load_mapping('{"lr": 1e-4, "x": null}') == {"lr": 1e-4, "x": None}
    assert load_mapping("{lr: 1e-4}") == {"lr": 1e-4}
    (tmp_path / "a.yaml").write_text("lr: 1e-4\nmodel:\n  use_lstm: true\n")
    (tmp_path / "a.json").write_text('{\n\t"lr": 1e-4\n}')
    assert load_mapping(str(tmp_path / "a.yaml")) == {"lr": 1e-4, "model": {"use_lstm": True}}
    assert load_mapping(str(tmp_path / "a.json")) == {"lr": 1e-4}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.yaml", "lr: 1\nx: [1\n", "line 3: "),
        ("b.yaml", "lr: 1\nlr: 2\n", "line 2: the key 'lr' is given twice"),
        ("c.yaml", "- 1\n", "holds a list"),
        ("d.json", '{"a": 1,\n"b": }', "line 2: Expecting value"),
        ("e.yaml", "", "holds null"),
        ("f.yaml", "a: !!python/object:os.system {}\n", "line 1: could not determine"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, content: str, expected: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_mapping(str(path), key="--config")
    line = caught.value.messages[0]
    assert line.startswith(f"--config: {path} {expected}") and "\n" not in line


def test_a_missing_file_a_directory_and_binary_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    cases = [("missing.yaml", "No such file"), (".", "Is a directory"), ("b.yaml", "not UTF-8")]
    for name, reason in cases:
        with pytest.raises(ConfigError, match=reason):
            load_mapping(str(tmp_path / name))
