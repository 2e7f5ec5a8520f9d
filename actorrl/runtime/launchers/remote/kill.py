"""End one process, if it is of the run: a pid alone may be somebody else's by now."""

import os
import signal


def main(told: dict, _data: object) -> dict:
    try:
        pidfd = os.pidfd_open(told["pid"])
        with open("/proc/{}/environ".format(told["pid"]), "rb") as file:
            if told["variable"].encode() in file.read().split(b"\0"):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                return {"killed": True}
    except OSError:
        pass
    return {"killed": False}
