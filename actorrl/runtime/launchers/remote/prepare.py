"""Make the virtual environment and run the setup commands, each once; what they print is logged."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import time

TAIL = 4000


class Failed(Exception):
    """A command that did not succeed."""


def main(told: dict, _data: object) -> dict:
    base = os.path.join(told["workdir"], ".actorrl")
    os.makedirs(base, exist_ok=True)
    os.chmod(base, 0o700)
    log = os.path.join(base, "prepare.log")
    answer = {"python": told["python"], "did": [], "failed": "", "tail": "", "log": log}
    with open(os.path.join(base, "prepare.lock"), "w") as lock, open(log, "ab") as output:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be doing the same
        start = output.tell()
        try:
            if told["venv"]:
                answer["python"] = make_venv(told, answer["did"], output)
            run_setup(told, base, answer, output)
        except Failed as error:
            answer["failed"] = str(error)
            answer["tail"] = tail_of(log, start)
    return answer


def make_venv(told: dict, did: list, output: object) -> str:
    """Its interpreter. One that the user has made is used as it is."""
    path = os.path.join(told["workdir"], ".venv")
    python = os.path.join(path, "bin", "python")
    stamp = os.path.join(path, ".actorrl")
    wanted = "\n".join(told["packages"])
    if os.path.exists(python) and not os.path.exists(stamp):
        return python
    if os.path.exists(python) and read(stamp) == wanted:
        return python
    if not os.path.exists(python):
        is_new = not os.path.exists(path)
        try:
            command([told["python"], "-m", "venv", path], told, told["workdir"], output)
        except Failed:
            if is_new:  # what is there of it would be taken for one that the user has made
                shutil.rmtree(path, ignore_errors=True)
            raise
        write(stamp, "")
        did.append("made " + path)
    if told["packages"]:
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        command(pip + told["packages"], told, told["workdir"], output)
        did.append("installed {} packages".format(len(told["packages"])))
    write(stamp, wanted)
    return python


def run_setup(told: dict, base: str, answer: dict, output: object) -> None:
    commands = told["setup"]
    if not commands:
        return
    said = "\0".join([*commands, *identity(answer["python"])])
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    stamp = os.path.join(base, "setup-" + digest)
    if os.path.exists(stamp):
        return
    told["environment"]["PATH"] = os.pathsep.join(
        [os.path.dirname(answer["python"]), os.environ.get("PATH", "")]
    )
    for each in commands:
        command(["sh", "-c", each], told, told["directory"], output)
        answer["did"].append("ran " + each)
    write(stamp, "\n".join(commands))


def identity(python: str) -> list:
    """Of its virtual environment, where it has one: another one under the same path has nothing of
    what the commands have installed."""
    try:
        found = os.stat(os.path.join(os.path.dirname(os.path.dirname(python)), "pyvenv.cfg"))
    except OSError:
        return []
    return [f"{found.st_ino}-{found.st_mtime_ns}"]


def command(words: list, told: dict, directory: str, output: object) -> None:
    shown = words[-1] if words[0] == "sh" else " ".join(words[:6])
    note = "\n== {} $ {}\n".format(time.strftime("%Y-%m-%d %H:%M:%S"), shown)
    output.write(note.encode())  # type: ignore
    output.flush()  # type: ignore
    environment = dict(os.environ)
    environment.update(told["environment"])
    streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
    try:
        code = subprocess.call(words, cwd=directory, env=environment, **streams)  # type: ignore
    except OSError as error:
        output.write(str(error).encode())  # type: ignore
        code = 127
    if code:
        raise Failed(shown)


def tail_of(path: str, start: int) -> str:
    with open(path, "rb") as file:
        file.seek(start)
        return file.read()[-TAIL:].decode(errors="replace")


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def write(path: str, text: str) -> None:
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)
