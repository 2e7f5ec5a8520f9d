"""Unpack a tree of code, so that it is there as a whole or not at all; remove ones long unused."""

import io
import os
import shutil
import tarfile
import tempfile
import time

KEPT = 5  # of each kind
UNUSED_S = 30 * 24 * 3600


def main(told: dict, data: object) -> dict:
    base = os.path.join(os.path.expanduser(told["workdir"]), ".actorrl")
    folder = os.path.join(base, "code")
    os.makedirs(folder, exist_ok=True)
    os.chmod(base, 0o700)
    target = os.path.join(folder, told["name"])
    beside = tempfile.mkdtemp(prefix=".new-", dir=folder)
    try:
        with tarfile.open(fileobj=io.BytesIO(data.read()), mode="r:gz") as tar:  # type: ignore
            for info in tar:
                check(info)
                tar.extract(info, beside)
        try:
            os.rename(beside, target)
        except OSError:  # another run was quicker
            if not os.path.isdir(target):
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    remove_old(folder, told["label"])
    return {"path": target}


def check(info: tarfile.TarInfo) -> None:
    parts = info.name.split("/")
    if not info.isfile() or info.name.startswith("/") or ".." in parts:
        raise ValueError("not a plain file of the tree: " + info.name)


def remove_old(folder: str, label: str) -> None:
    now = time.time()
    paths = [os.path.join(folder, n) for n in os.listdir(folder) if n.startswith(label + "-")]
    paths.sort(key=os.path.getmtime, reverse=True)
    for path in paths[KEPT:]:
        if now - os.path.getmtime(path) > UNUSED_S:
            shutil.rmtree(path, ignore_errors=True)
