"""What is forwarded of a log: whole lines, so many at a time, and how many more there were."""

from __future__ import annotations

from pathlib import Path

from actorrl.runtime import running
from actorrl.runtime.log_forwarder import LINES_PER_LOOK, LogForwarder
from actorrl.runtime.running import Running


def forwarded(log: Path, forwarder: LogForwarder) -> list[tuple[str, int]]:
    actor = Running("worker/0", 1, str(log), 0, 60.0, 0)
    return [(text, left_out) for _, text, left_out in forwarder.rest(actor)]


def test_whole_lines_come_once_and_the_rest_of_a_line_with_its_end(tmp_path):
    log, forwarder = tmp_path / "log", LogForwarder()
    log.write_text("one\ntw")
    assert forwarded(log, forwarder) == [("one", 0)]
    assert forwarded(log, forwarder) == []
    log.write_text("one\ntwo\n")
    assert forwarded(log, forwarder) == [("two", 0)]


def test_lines_beyond_the_rate_are_counted_and_later_ones_come(tmp_path):
    log, forwarder = tmp_path / "log", LogForwarder()
    lines = [f"line {i}" for i in range(LINES_PER_LOOK + 7)]
    log.write_text("\n".join(lines) + "\n")
    ((text, left_out),) = forwarded(log, forwarder)
    assert text.splitlines() == lines[:LINES_PER_LOOK] and left_out == 7
    with open(log, "a") as file:
        file.write("and then\n")
    assert forwarded(log, forwarder) == [("and then", 0)]


def test_a_line_that_does_not_end_holds_up_nothing(tmp_path):
    log, forwarder = tmp_path / "log", LogForwarder()
    log.write_text("x" * 3_000_000 + "\nafter it\n")
    texts = [text for _ in range(4) for text, _ in forwarded(log, forwarder)]
    assert texts[-1].splitlines()[-1] == "after it"
    assert all(len(line) <= 1000 for text in texts for line in text.splitlines())


def test_what_a_terminal_would_obey_is_spelled_out(tmp_path):
    log, forwarder = tmp_path / "log", LogForwarder()
    log.write_bytes(b"\x1b[2Jhello\tthere\xff\n")
    assert forwarded(log, forwarder) == [("\\x1b[2Jhello\tthere\ufffd", 0)]


def test_of_a_log_that_is_too_long_the_end_stays_and_what_follows_is_forwarded(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(running, "MAX_LOG_BYTES", 2_000_000)
    log, forwarder = tmp_path / "log", LogForwarder()
    actor = Running("worker/0", 1, str(log), 7, 60.0, 0)
    with open(log, "a") as writer:  # as an actor has it, which goes on meanwhile
        for line in range(300_000):
            writer.write(f"{line:9}\n")
        writer.flush()
        actor.trim_log()
        writer.write("and then\n")
    first, *kept, last = log.read_text().splitlines()
    assert first == f"({3_000_000 - 2**20} bytes were here, and are left out)"
    assert kept[-1] == f"{299_999:9}" and last == "and then"
    assert actor.log_tail().endswith("and then\n")
    forwarder._positions["worker/0", 1] = 3_000_000
    assert forwarded(log, forwarder)[0][0].startswith(first)
    actor.trim_log()  # it is short now
    assert log.read_text().endswith("and then\n")


def test_of_an_actor_that_has_ended_nothing_is_left_untold(tmp_path):
    log, forwarder = tmp_path / "log", LogForwarder()
    actor = Running("worker/0", 1, str(log), 0, 60.0, 0)
    log.write_text("one\nits last wor")
    told = [*forwarder.rest(actor), *forwarder.end(actor)]
    assert [(text, left_out) for _, text, left_out in told] == [("one", 0), ("its last wor", 0)]


def test_of_too_many_lines_at_an_actors_end_the_last_are_told_and_those_before_counted(tmp_path):
    log = tmp_path / "log"
    actor = Running("worker/0", 1, str(log), 0, 60.0, 0)
    for count in (LINES_PER_LOOK + 7, 100_000):
        forwarder = LogForwarder()
        lines = [*(f"{index:30}" for index in range(count)), "MemoryError: the cause"]
        log.write_text("\n".join(lines))
        (_, nothing, left_out), (_, text, no_more) = list(forwarder.end(actor))
        assert text.splitlines() == lines[-LINES_PER_LOOK:]
        assert (nothing, left_out, no_more) == ("", len(lines) - LINES_PER_LOOK, 0)
        assert list(forwarder.end(actor)) == list(LogForwarder().end(actor)), "nothing is kept"


def test_of_long_lines_at_an_actors_end_the_last_are_told_too(tmp_path):
    log, forwarder = tmp_path / "log", LogForwarder()
    actor = Running("worker/0", 1, str(log), 0, 60.0, 0)
    log.write_text("".join(f"{'x' * 2000}\n" for _ in range(90)) + "MemoryError: the cause\n")
    (_, _, left_out), (_, text, _) = list(forwarder.end(actor))
    shown = text.splitlines()
    assert shown[-1] == "MemoryError: the cause" and len(shown) + left_out == 91
    assert 1 < len(shown) < 91
