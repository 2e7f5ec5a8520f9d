"""A train batch cut into one share for each learner, so that together they are the batch.

Fragments side by side are cut between environments: T rows, B environments of all fragments, K
final observations. Rows one behind the other, N, are cut anywhere, but whole episodes where a
network with memory runs through them. Columns of several policies are under "policy/name", and
each policy's are cut by themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from actorrl.data import columns as c
from actorrl.data.columns import Axes
from actorrl.policies.policy_map import SEPARATOR, Column

Columns = Mapping[str, Tensor]


class _Span(NamedTuple):
    """Environments or rows from `start` on, before `end`."""

    start: int
    end: int


def cut(batch: Columns, count: int) -> list[dict[str, Tensor]] | None:
    """`count` shares, views where they can be; None if there are not rows for everybody. Of fewer
    environments than learners, some get one of which no row is valid."""
    shares: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for prefix, columns in by_policy(batch).items():
        side_by_side = c.VALID in columns
        spans = _even(columns, count)
        if not side_by_side and any(span.end <= span.start for span in spans):
            return None
        for share, span in zip(shares, spans, strict=True):
            part = _environments(columns, span) if side_by_side else _rows(columns, span)
            share.update({f"{prefix}{name}": column for name, column in part.items()})
    return shares


def by_policy(batch: Mapping[str, Column]) -> dict[str, dict[str, Column]]:
    """Columns under their own names, by "policy/"; of one policy alone by ""."""
    parts: dict[str, dict[str, Column]] = {}
    for key, column in batch.items():
        head, separator, name = key.rpartition(SEPARATOR)
        parts.setdefault(f"{head}{separator}", {})[name] = column
    return parts


def num_rows(columns: Columns) -> int:
    """Decisions, of one policy."""
    if c.VALID in columns:
        return int(columns[c.VALID].sum())
    return len(next(iter(columns.values())))


def _even(columns: Columns, count: int) -> list[_Span]:
    side_by_side = c.VALID in columns
    total = columns[c.VALID].shape[1] if side_by_side else len(next(iter(columns.values())))
    places = [round(total * i / count) for i in range(count + 1)]
    if not side_by_side and c.T in columns:
        starts = [*torch.nonzero(columns[c.T] == 0).flatten().tolist(), total]
        places = [0, *(_nearest(starts, place) for place in places[1:-1]), total]
    return [_Span(*ends) for ends in itertools.pairwise(places)]


def _nearest(starts: list[int], place: int) -> int:
    """The beginning of an episode."""
    return min(starts, key=lambda start: abs(start - place))


def _rows(columns: Columns, span: _Span) -> dict[str, Tensor]:
    return {name: column[span.start : span.end] for name, column in columns.items()}


def _environments(columns: Columns, span: _Span) -> dict[str, Tensor]:
    if span.end == span.start:
        part = _environments(columns, _Span(0, 1))
        return {**part, c.VALID: torch.zeros_like(part[c.VALID])}
    part = {
        name: column.narrow(int(c.axes_of(name) is not Axes.B), span.start, span.end - span.start)
        for name, column in columns.items()
        if c.axes_of(name) is not Axes.N
    }
    if c.FINAL_ROWS in columns:
        num_envs = columns[c.VALID].shape[1]
        row, env = columns[c.FINAL_ROWS] // num_envs, columns[c.FINAL_ROWS] % num_envs
        own = (env >= span.start) & (env < span.end)
        part[c.FINAL_OBS] = columns[c.FINAL_OBS][own]
        part[c.FINAL_ROWS] = (row * (span.end - span.start) + env - span.start)[own]
    return part


def to_arrays(share: Columns) -> dict[str, np.ndarray]:
    """For another process."""
    return {name: np.ascontiguousarray(column.cpu().numpy()) for name, column in share.items()}


def to_tensors(arrays: Mapping[str, np.ndarray], device: str) -> dict[str, Tensor]:
    """Copies, on the learner's device: the arrays lie in the sender's memory."""
    return {name: torch.from_numpy(array.copy()).to(device) for name, array in arrays.items()}
