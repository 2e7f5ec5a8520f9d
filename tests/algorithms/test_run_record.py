"""What a run leaves behind in its folder."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actorrl.algorithms.run_record import RunName, make_folder
from actorrl.errors import RunFolderError

WHO = RunName("id", "PPO", "CartPole-v1")


def test_runs_that_begin_at_the_same_moment_have_folders_of_their_own(tmp_path: Path) -> None:
    """As those of `for lr in ...; do actorrl train ... & done`."""
    start = threading.Barrier(16)

    def begin(_: int) -> str:
        start.wait()
        return make_folder(WHO, None, tmp_path).name

    with ThreadPoolExecutor(16) as threads:
        names = list(threads.map(begin, range(16)))
    assert len(set(names)) == 16 == len(list(tmp_path.iterdir()))


def test_where_no_folder_can_be_made_is_told_and_not_tried_for_ever(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="file is not a folder that you may write to"):
        make_folder(WHO, None, tmp_path / "file")
    make_folder(WHO, "named", tmp_path)
    with pytest.raises(RunFolderError, match="exists already"):
        make_folder(WHO, "named", tmp_path)
