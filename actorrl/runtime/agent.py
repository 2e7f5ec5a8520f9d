"""A host's agent: starts its actors, watches them, and is the last to leave.

A process of its own, in a session of its own, so that a terminal's Ctrl-C reaches only the driver.
When the driver is gone it stops its actors, removes the run's sockets and leaves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import traceback

import msgspec

from actorrl.runtime import preload, run_directory, strays
from actorrl.runtime.agent_loop import REAP_S, Agent
from actorrl.wire.control_messages import AgentConfig


def main() -> None:
    """Entry point; the configuration comes over standard input."""
    config = _read_config()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code, agent = 1, None
    try:
        if config.incarnation > 1:  # whoever does not notice that our predecessor was killed
            strays.kill_run(config.run_id, REAP_S, config.host)
        if not config.socket_dir:
            config.socket_dir = str(run_directory.make_another(config.run_id, config.slots))
        # multiprocessing keeps the forkserver's socket in a temporary directory that it removes in
        # an exit hook; this one is removed whoever is killed. (As is that of `preload.warm`.)
        tempfile.tempdir = config.socket_dir
        if config.expects_actors:
            preload.start(config.preload)
        agent = Agent(config)
        agent.run()
        code = 0
    except BaseException as error:
        traceback.print_exc()
        for line_end in agent.line_ends[1:] if agent is not None else []:
            with contextlib.suppress(OSError):
                os.write(line_end, f"{type(error).__name__}: {error}\n".encode())
    finally:
        strays.kill_run(config.run_id, REAP_S, config.host)  # the forkserver, too
        # after a failure of ours the driver goes on, and so does what it has there
        if code == 0 or config.driver_pid == 0 or os.getppid() != config.driver_pid:
            shutil.rmtree(config.socket_dir, ignore_errors=True)
        sys.stderr.flush()
        os._exit(code)  # not multiprocessing's exit hook: it would join what may be stuck


def main_early() -> None:
    """Entry point of an agent that was started before its run; the path of its log comes first."""
    log = b""
    while not log.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:  # it was not needed; its forkserver would first import everything
            strays.kill_run(os.environ[strays.RUN_ID_VARIABLE], REAP_S)
            shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)
            os._exit(0)
        log += part
    with open(log[:-1], "ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    main()


def _read_config() -> AgentConfig:
    """Reads no byte too many: on another host, standard input goes on as the lifeline."""
    source = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    frame = b""
    while len(frame) < 8 or len(frame) < 8 + int.from_bytes(frame[:8], "big"):
        wanted = 8 if len(frame) < 8 else 8 + int.from_bytes(frame[:8], "big")
        part = source.read(wanted - len(frame))
        if not part:
            raise EOFError("the driver has ended before it said what to do")
        frame += part
    return msgspec.msgpack.decode(frame[8:], type=AgentConfig)
