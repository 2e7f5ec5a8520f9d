"""Starts this machine's agent: a fresh interpreter in a session of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from actorrl.runtime.strays import RUN_ID_VARIABLE
from actorrl.wire.messages import AgentConfig

_MAIN = "from actorrl.runtime.agent import main; main()"
# One thread per actor; a role that wants more sets it itself. Read by the libraries at import.
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def start_agent(config: AgentConfig) -> subprocess.Popen[bytes]:
    """The agent's process. It learns everything over its standard input; its environment carries
    the run's id, by which every process of the run can be found."""
    log = Path(config.log_dir) / f"agent-{config.host}.log"
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN],  # -P: the working directory hides no module
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=_environment(config.run_id),
            start_new_session=True,
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already: who watches it will see
        process.stdin.write(msgspec.msgpack.encode(config))
        process.stdin.close()
    return process


def _environment(run_id: str) -> dict[str, str]:
    environment = {**os.environ, RUN_ID_VARIABLE: run_id, "CUDA_VISIBLE_DEVICES": ""}
    for variable in ONE_THREAD:
        environment.setdefault(variable, "1")
    # children find the user's modules where the driver finds them
    paths = [os.getcwd() if path == "" else path for path in sys.path]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return environment
