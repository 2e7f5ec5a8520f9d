"""The rows of a run: result.json, progress.csv and TensorBoard, one row per training iteration."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actorrl.errors import ConfigError, RunFailed
from actorrl.experiment.run_folder import RunFolder
from actorrl.experiment.state_files import (
    append_line,
    json_line,
    read_json_lines,
    to_strict_json,
    write_atomically,
)
from actorrl.experiment.tensorboard import EventFile


class ResultWriter:
    """Appends rows; a run that is resumed goes on in the same files.

    result.json: strict JSON, NaN as null. progress.csv: nested keys with '/', its header is that
    of the first row until a row has new keys, then the file is rewritten. TensorBoard: every
    number, over timesteps_total.
    """

    def __init__(self, run: RunFolder) -> None:
        self._result_file = run.result_file
        self._csv_file = run.path / "progress.csv"
        self._header = _read_header(self._csv_file)
        self._events = EventFile(run.path)
        if self._header is not None:
            # A crash may have come between the two files; result.json is the one that counts.
            self._rewrite_csv([flatten(row) for row in read_json_lines(self._result_file)])

    def write(self, result: Mapping[str, Any]) -> None:
        """Append one row. ConfigError names a value that JSON has no form for, which a callback has
        put there; nothing is written.
        RunFailed if the disk refuses: a run without results is not worth going on with."""
        try:
            row = to_strict_json(result)
        except TypeError as error:
            raise ConfigError(f"{error}, expected numbers, text, lists and dicts") from None
        flat = flatten(row)
        try:
            append_line(self._result_file, json_line(row))
            self._append_csv(flat)
            numbers = {k: float(v) for k, v in flat.items() if _is_number(v)}
            self._events.write(int(row.get("timesteps_total") or 0), numbers)
        except OSError as error:
            folder = self._result_file.parent
            raise RunFailed(
                f"{folder}: its results cannot be written ({error.strerror}). Make room, then go on"
                f" from its newest checkpoint: actorrl resume {shlex.quote(str(folder))}"
            ) from error

    def rewind(self, training_iteration: int) -> int:
        """Drop rows after `training_iteration`; how many. For a resume from a checkpoint.

        What a driver did between its last checkpoint and its death is done again, and rows of the
        same iteration twice would be read as one run's. TensorBoard keeps both.
        """
        rows = read_json_lines(self._result_file)
        kept = [r for r in rows if (r.get("training_iteration") or 0) <= training_iteration]
        if len(kept) < len(rows):
            text = "".join(json_line(row) for row in kept)
            write_atomically(self._result_file, text.encode(), durable=True)
            self._rewrite_csv([flatten(row) for row in kept])
        return len(rows) - len(kept)

    def _append_csv(self, flat: dict[str, Any]) -> None:
        if self._header and not (flat.keys() - set(self._header)):
            append_line(self._csv_file, _csv_text(self._header, [flat], with_header=False))
        elif self._header is None:
            self._rewrite_csv([flat])
        else:
            self._rewrite_csv([flatten(row) for row in read_json_lines(self._result_file)])

    def _rewrite_csv(self, rows: list[dict[str, Any]]) -> None:
        """All rows anew, under the old header followed by the keys it lacked."""
        keys = dict.fromkeys(self._header or [])
        for row in rows:
            keys.update(dict.fromkeys(row))
        self._header = list(keys)
        write_atomically(self._csv_file, _csv_text(self._header, rows, with_header=True).encode())


def read_results(run: RunFolder) -> list[dict[str, Any]]:
    """All whole rows of result.json, oldest first; null stays None."""
    return read_json_lines(run.result_file)


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined with '/'."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _csv_text(header: list[str], rows: list[dict[str, Any]], with_header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    if with_header:
        writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Empty for null; a list as JSON."""
    return "" if value is None else json.dumps(value) if isinstance(value, list) else value


def _read_header(path: Path) -> list[str] | None:
    try:
        with open(path, newline="") as file:
            return next(csv.reader(file), None)
    except FileNotFoundError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
