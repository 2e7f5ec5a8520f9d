"""Which files are copied to a host, and what makes two trees the same."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from actorrl.errors import ConfigError
from actorrl.runtime.host_specs import SyncSpec
from actorrl.runtime.launchers import code_sync, own
from actorrl.runtime.launchers.code_sync import Tree, trees


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    made_again_there = (".git/config", ".peers/rllib/bin/python", "pkg/__pycache__/b.pyc")
    for name in ("a.py", "pkg/b.py", "pkg/deep/c.ckpt", *made_again_there):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def files(tree: Tree) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(tree.archive)) as tar:
        assert all(info.isfile() and (info.uid, info.uname) == (0, "") for info in tar)
        return set(tar.getnames())


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ([], {"a.py", "pkg/b.py", "pkg/deep/c.ckpt"}),
        (["*.ckpt"], {"a.py", "pkg/b.py"}),
        (["pkg/deep"], {"a.py", "pkg/b.py"}),
        (["deep/"], {"a.py", "pkg/b.py"}),
        (["pkg/*.py"], {"a.py", "pkg/deep/c.ckpt"}),
        (["./pkg"], {"a.py"}),
        (["/b.py"], {"a.py", "pkg/b.py", "pkg/deep/c.ckpt"}),
    ],
)
def test_patterns_leave_out_names_and_paths(folder, exclude, left):
    assert files(Tree("source", folder, exclude)) == left


def test_a_tree_is_known_by_names_contents_and_what_may_be_executed(folder):
    def name() -> str:
        return Tree("source", folder, []).name

    first = name()
    (folder / ".git" / "config").write_text("other")
    (folder / "a.py").touch()
    assert name() == first
    (folder / "a.py").chmod(0o755)
    second = name()
    (folder / "a.py").write_text("other")
    third = name()
    (folder / "a.py").rename(folder / "z.py")
    assert len({first, second, third, name()}) == 4


def test_links_to_files_become_files_and_links_to_folders_are_counted(folder):
    (folder / "link.py").symlink_to("a.py")
    (folder / "outside").symlink_to("/usr")
    (folder / "broken").symlink_to("nothing")
    tree = Tree("source", folder, [])
    assert "link.py" in files(tree) and not any(n.startswith("outside") for n in files(tree))
    assert tree.num_links == 2


@pytest.mark.parametrize(("bound", "value"), [("MAX_BYTES", 10), ("MAX_FILES", 2)])
def test_too_much_is_refused_with_the_largest_parts(folder, monkeypatch, bound, value):
    monkeypatch.setattr(code_sync, bound, value)
    with pytest.raises(ConfigError, match=r"^sync.source: .*name what is not needed in sync.excl"):
        Tree("source", folder, [])


def test_the_package_is_copied_with_what_it_reads_and_without_its_neighbours(folder):
    package, source = trees(SyncSpec(source=str(folder)))
    names = files(package)
    assert "actorrl/runtime/agent.py" in names and "actorrl/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"actorrl"}
    assert package.root == own.PACKAGE.parent and "a.py" in files(source)


def test_the_drivers_packages_are_pinned_without_local_labels():
    pins = own.requirements()
    assert {"numpy", "pyzmq", "torch"} <= set(pins) and own.needed() <= set(pins)
    assert not any("+" in version for version in pins.values())
