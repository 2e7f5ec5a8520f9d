"""Be an agent's lifeline in place of one that broke: lives as long as the connection that it is
told over, and the agent. An agent is one of the run: a pid alone may be somebody else's by now."""

import json
import os
import select


def main(told: dict, _data: object) -> dict:
    try:
        agent = os.pidfd_open(told["pid"])
        with open("/proc/{}/environ".format(told["pid"]), "rb") as file:
            is_ours = told["variable"].encode() in file.read().split(b"\0")
    except OSError:
        is_ours = False
    if is_ours:
        print("\n" + told["mark"], json.dumps({"pid": os.getpid()}), flush=True)
        select.select([0, agent], [], [])
    return {"pid": None}
