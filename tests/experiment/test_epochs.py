"""Epochs only rise, whatever a checkpoint knows."""

from __future__ import annotations

from actorrl.experiment.epochs import next_epoch


def test_an_epoch_is_taken_once_and_higher_than_what_is_known(tmp_path):
    assert next_epoch(tmp_path, 1) == 2
    assert next_epoch(tmp_path, 1) == 3, "twice from the same checkpoint"
    assert next_epoch(tmp_path, 7) == 8
    assert next_epoch(tmp_path, 2) == 9


def test_a_damaged_file_or_none_that_can_be_written_stops_nobody(tmp_path):
    (tmp_path / "epoch").write_text("?")
    assert next_epoch(tmp_path, 3) == 4
    assert next_epoch(tmp_path / "absent", 3) == 4
