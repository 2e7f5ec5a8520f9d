"""A coverage-guided fuzzer (atheris, which is libFuzzer for Python) over the same decoders.

    pip install atheris         # into an environment that has actorrl; the tests do not need it
    python -m tests.fuzz.coverage_guided --seconds 3600 --corpus /tmp/corpus

The seconds are shared by the decoders, one after the other, each in a process of its own; what led
to new branches is kept in the corpus and is where the next call begins. An error that is not the
decoder's own is printed with the bytes that caused it, which also lie in the corpus as `crash-*`.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from pathlib import Path

_MAX_BYTES = 8192
_MAX_MEMORY_MB = 1500
_TIMEOUT_S = 20  # of one input


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--only", help="one decoder, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        fuzz(arguments.only, arguments.corpus, arguments.seconds)
        return 0  # not reached: libFuzzer ends the process
    from tests.fuzz.decoders import DECODERS

    share = str(max(1, arguments.seconds // len(DECODERS)))
    failed = []
    for name in DECODERS:
        print(f"== {name}, {share} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzz.coverage_guided", "--only", name]
        command += ["--seconds", share, "--corpus", str(arguments.corpus)]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print(f"crashed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def fuzz(name: str, corpus: Path, seconds: int) -> None:
    """Until the time is over, or an input crashes. Never returns."""
    import atheris

    with atheris.instrument_imports(include=["actorrl", "msgspec", "safetensors", "json"]):
        from tests.fuzz.decoders import DECODERS
    decoder = DECODERS[name]()

    def take(data: bytes) -> None:
        with contextlib.suppress(decoder.refusal):
            decoder.decode(data)

    folder = corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    for index, original in enumerate(decoder.originals):
        (folder / f"original-{index}").write_bytes(original)
    options = {
        "max_total_time": seconds,
        "max_len": _MAX_BYTES,
        "rss_limit_mb": _MAX_MEMORY_MB,
        "timeout": _TIMEOUT_S,
        "artifact_prefix": f"{corpus}/{name}-",
        "print_final_stats": 1,
    }
    flags = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([sys.argv[0], str(folder), *flags], take)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
