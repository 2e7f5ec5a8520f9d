"""The interpreter that a host's actors run in, its `setup` commands, and its variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from actorrl.errors import HostError
from actorrl.runtime.host_specs import HostSpec
from actorrl.runtime.launchers import own
from actorrl.runtime.launchers.agent_process import AgentPlace
from actorrl.runtime.launchers.connection import Connection
from actorrl.runtime.launchers.local import ONE_THREAD
from actorrl.runtime.launchers.probe import Facts
from actorrl.runtime.launchers.remote_command import run_script

_PREPARE_S = 3600.0  # pip may have to load gigabytes
_TAIL_LINES = 12


class Prepared(NamedTuple):
    """`python` is the interpreter to use; `did` says what had to be done for it."""

    python: str
    did: list[str]


def prepare(connection: Connection, host: HostSpec, facts: Facts, directory: str) -> Prepared:
    """Make .venv where it is missing, with the driver's packages, and run `setup` in `directory`
    where these commands have not run on this host. Raises HostError with the end of their output.
    """
    if not facts.makes_venv and not host.setup:
        return Prepared(facts.python, [])
    told = {
        "workdir": facts.workdir,
        "directory": directory,
        "venv": facts.makes_venv,
        "packages": [f"{name}=={version}" for name, version in own.requirements().items()],
        "setup": list(host.setup),
        "environment": {**host.env, **passed(host, os.environ)},
        "python": facts.python,
    }
    answer = run_script(connection, facts.python, "prepare", told, _PREPARE_S)
    if answer["failed"]:
        tail = "".join(f"\n  {line}" for line in answer["tail"].splitlines()[-_TAIL_LINES:])
        raise HostError(
            f"{host.name}: `{answer['failed']}` failed{tail}\n"
            f"  all of its output is in {answer['log']} there"
        )
    return Prepared(answer["python"], answer["did"])


def agent_place(
    host: HostSpec, python: str, paths: list[str], directory: str, environment: Mapping[str, str]
) -> AgentPlace:
    """How the agent is started; `environment` is the driver's, for `pass_env`."""
    variables = {
        **dict.fromkeys(ONE_THREAD, "1"),
        **host.env,
        **passed(host, environment),
        "CUDA_VISIBLE_DEVICES": "",  # an actor that uses a GPU is given its own
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [host.env.get("PYTHONPATH")])]),
    }
    return AgentPlace(python, directory, variables)


def passed(host: HostSpec, environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in host.pass_env if name in environment}


def not_passed(host: HostSpec, environment: Mapping[str, str]) -> list[str]:
    """Names of `pass_env` that the driver does not have."""
    return [name for name in host.pass_env if name not in environment]
