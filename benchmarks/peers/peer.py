"""A peer that answers small questions: a process under its own Python that measures one window for
each line `NAME` on its standard input, and prints one JSON line."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness.pairing import Sample, Side, Window
from benchmarks.peers import setup

_HERE = Path(__file__).parent
_LIMIT_S = 900.0  # for one answer: the first waits until hundreds of Ray's actors have started


def side(label: str, environment: str, script: str, question: str) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        words = [str(setup.python(environment)), str(_HERE / script)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield lambda: _ask(process, question)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()

    return Side(label, opened)


def _ask(process: subprocess.Popen[str], question: str, limit_s: float = _LIMIT_S) -> Sample:
    """Lines that are no JSON are the library's own talk. Raises RuntimeError if the peer ends, or
    gives no answer within the limit: then it is killed."""
    watchdog = threading.Timer(limit_s, process.kill)
    watchdog.start()
    try:
        answer = _answer(process, question)
    finally:
        watchdog.cancel()
    if answer is None:
        why = f"{process.args} ended with {process.wait()}"
        raise RuntimeError(f"{why}, and did not answer {question!r} (within {limit_s:g} s)")
    return Sample(float(answer.pop("value")), answer)


def _answer(process: subprocess.Popen[str], question: str) -> dict[str, Any] | None:
    """None if the peer has ended."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(question + "\n")
        process.stdin.flush()
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            answer = json.loads(line)
            if isinstance(answer, dict) and "value" in answer:
                return answer
    return None
