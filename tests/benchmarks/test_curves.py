"""The curves of a report: those of earlier runs stay when one is added."""

from __future__ import annotations

from pathlib import Path

from benchmarks.curves import curve, read_csv, rows_of, write_csv


def test_curves_read_back_are_written_as_they_were(tmp_path: Path) -> None:
    peer = tmp_path / "peer.txt"
    peer.write_text("1.5 1000 -20.25\n2.5 4054189 nan\n3.5 4054189 18.0\n")
    path = tmp_path / "pong.csv"
    write_csv(path, {"peer": curve(rows_of(peer))})
    first = path.read_text()
    assert first.splitlines()[-1].startswith("peer,4054189,18,3.5,")

    kept = read_csv(path)
    write_csv(path, kept)
    assert path.read_text() == first
    write_csv(path, {**kept, "again": curve(rows_of(peer))})
    assert list(read_csv(path)) == ["peer", "again"]


def test_there_are_no_curves_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_csv(tmp_path / "pong.csv") == {}
