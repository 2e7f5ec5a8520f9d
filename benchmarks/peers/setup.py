"""Environments of the peers: `python -m benchmarks.peers.setup [NAME...]` makes .peers/NAME.

Each takes one to two GiB. One that does not install is said, and the others go on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
ROOT = _HERE.parents[1] / ".peers"


def names() -> list[str]:
    return sorted(path.stem for path in (_HERE / "requirements").glob("*.txt"))


def python(name: str) -> Path:
    """The interpreter of a peer's environment, which is made now if there is none. Raises
    RuntimeError if it does not install."""
    path = ROOT / name / "bin" / "python"
    if not path.exists() and not make(name):
        raise RuntimeError(f"{name} does not install, see above; without it: no --peers")
    return path


def make(name: str) -> bool:
    requirements = _HERE / "requirements" / f"{name}.txt"
    done = ROOT / name / "done"
    if done.exists() and done.read_text() == requirements.read_text():
        return True
    print(f"{name}: making {ROOT / name}", flush=True)
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(ROOT / name)],
        [str(ROOT / name / "bin" / "pip"), "install", "--quiet", "-r", str(requirements)],
    ]
    for step in steps:
        ended = subprocess.run(step)
        if ended.returncode:
            print(f"{name}: did not install (exit {ended.returncode})", flush=True)
            return False
    done.write_text(requirements.read_text())
    return True


def main(arguments: list[str]) -> int:
    made = [make(name) for name in arguments or names()]
    return 0 if all(made) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
