"""Whether the columns of a fragment have the axes that they are declared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from actorrl.data import columns as c
from actorrl.data.columns import Axes


def check_layout(columns: Mapping[str, np.ndarray], num_rows: int, num_envs: int) -> None:
    """T rows, B environments."""
    leading = {
        Axes.TB: (num_rows, num_envs),
        Axes.T1B: (num_rows + 1, num_envs),
        Axes.B: (num_envs,),
        Axes.N: (),
    }
    for name, column in columns.items():
        if c.axes_of(name) is Axes.FTB:
            assert len(column) >= num_rows + 1 and column.shape[1] == num_envs, name
        else:
            wanted = leading[c.axes_of(name)]
            assert column.shape[: len(wanted)] == wanted, name
    assert (c.OBS in columns) != (c.FRAMES in columns)
    if c.FINAL_ROWS in columns:
        assert len(columns[c.FINAL_ROWS]) == len(columns[c.FINAL_OBS])
        assert (columns[c.FINAL_ROWS] < num_rows * num_envs).all()
