"""Versions, git revision, and what the room does not import."""

import subprocess
import sys

from actorrl.experiment.provenance import git_revision, versions


def test_versions_name_what_is_installed_and_none_for_what_is_not():
    found = versions()
    assert found["python"].startswith("3.") and found["numpy"]
    assert all(value is None or isinstance(value, str) for value in found.values())


def test_the_revision_says_when_files_differ(tmp_path):
    assert git_revision(tmp_path / "absent") is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    git = ["git", "-C", str(tmp_path), *identity]
    (tmp_path / "file").write_text("1")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "--no-verify", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    clean = git_revision(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert git_revision(tmp_path) == f"{clean}-dirty"


def test_the_rooms_import_no_torch_no_gymnasium_and_no_zmq():
    rooms = {
        "experiment": "checkpoints estimate ownership progress provenance results run_folder stop",
        "replay": "frame_store limiter prioritized rows sum_tree uniform weights",
    }
    names = [f"actorrl.{room}.{file}" for room in rooms for file in rooms[room].split()]
    code = f"import sys, {', '.join(names)}\n"
    code += "heavy = {'torch', 'gymnasium', 'zmq', 'tensorboardX'} & set(sys.modules)\n"
    code += "sys.exit(', '.join(heavy) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
