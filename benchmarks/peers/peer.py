"""A peer that answers small questions: a process under its own Python that measures one window for
each line `NAME` on its standard input, and prints one JSON line."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness.pairing import Sample, Side, Window
from benchmarks.peers import setup

_HERE = Path(__file__).parent


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


def _ask(process: subprocess.Popen[str], question: str) -> Sample:
    """Lines that are no JSON are the library's own talk."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(question + "\n")
    process.stdin.flush()
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            answer = json.loads(line)
            if isinstance(answer, dict) and "value" in answer:
                return Sample(float(answer.pop("value")), answer)
    raise RuntimeError(f"{process.args} ended with {process.wait()}")
