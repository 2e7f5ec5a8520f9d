"""What a host has. Writes nothing."""

import os
import platform
import re
import shutil
import socket
import subprocess
import sys


def main(told: dict, _data: object) -> dict:
    free, writable = free_bytes(told["workdir"])
    return {
        "python": os.environ.get("ACTORRL_FOUND_PYTHON") or sys.executable,
        "version": list(sys.version_info[:3]),
        "system": " ".join([platform.system(), platform.release(), platform.machine()]),
        "hostname": socket.gethostname(),
        "num_cpus": num_cpus(),
        "memory_bytes": memory_bytes(),
        "gpus": gpus(),
        "free_bytes": free,
        "workdir": expanded(told),
        "workdir_is_writable": writable,
        "has_made_venv": os.path.exists(os.path.join(expanded(told), ".venv", ".actorrl")),
        "free_ports": free_ports(*told["ports"]),
        "actorrl": installed(told["paths"]),
        "packages": {name: version_of(name) for name in told["packages"]},
        "ssh_connection": os.environ.get("SSH_CONNECTION", ""),
    }


def expanded(told: dict) -> str:
    return os.path.expanduser(told["workdir"])


def memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def num_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list:
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        lines = subprocess.check_output(query, stderr=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in lines.decode().splitlines() if line.strip()]


def free_bytes(path: str) -> tuple:
    path = os.path.expanduser(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free, os.access(path, os.W_OK)


def free_ports(first: int, last: int) -> int:
    count = 0
    for port in range(first, last + 1):
        with socket.socket() as each:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                each.bind(("", port))
                count += 1
            except OSError:
                pass
    return count


def version_of(package: str) -> object:
    try:
        from importlib import metadata

        return metadata.version(package)
    except Exception:
        return None


def installed(paths: list) -> object:
    """Version and protocol of the actorrl that is found here; None where there is none."""
    import importlib.util

    sys.path[:0] = paths
    spec = importlib.util.find_spec("actorrl")
    if spec is None or not spec.origin:
        return None
    root = os.path.dirname(spec.origin)
    return {"version": version_text(root), "protocol": protocol(root), "path": root}


def version_text(root: str) -> object:
    """What the source tree says, else what is installed, as the driver reads its own."""
    try:
        with open(os.path.join(os.path.dirname(root), "pyproject.toml")) as file:
            found = re.search(r'^version = "(.*)"', file.read(), re.M)
        if found:
            return found.group(1)
    except OSError:
        pass
    return version_of("actorrl")


def protocol(root: str) -> object:
    try:
        with open(os.path.join(root, "wire", "messages.py")) as file:
            found = re.search(r"^PROTOCOL_VERSION = (\d+)", file.read(), re.M)
        return int(found.group(1)) if found else None
    except OSError:
        return None
