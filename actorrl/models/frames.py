"""Observations of a fragment on the learner's device: stacks of frames, of which it carries every
one once.

T rows, B environments, K final observations, k frames in a stack.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from actorrl.data import columns as c


def observations(columns: Mapping[str, Tensor], k: int) -> Tensor:
    """[T+1, B, ...], frames stacked to [T+1, B, k, H, W]."""
    if c.FRAMES not in columns:
        return columns[c.OBS]
    return stack_frames(columns[c.FRAMES], columns[c.AGE], k)


def final_observations(columns: Mapping[str, Tensor], k: int) -> Tensor:
    """[K, ...]; a single final frame is put on top of the stack of the row that it follows."""
    finals = columns[c.FINAL_OBS]
    if c.FRAMES not in columns or finals.dim() == columns[c.FRAMES].dim():
        return finals
    stacks = stack_frames(columns[c.FRAMES], columns[c.AGE], k)
    before = stacks.flatten(0, 1)[columns[c.FINAL_ROWS].long()]  # [K, k, H, W]
    return torch.cat([before[:, 1:], finals.unsqueeze(1)], dim=1)


def stack_frames(frames: Tensor, age: Tensor, k: int) -> Tensor:
    """frames [k-1+L, B, H, W] and age [L, B] -> stacks [L, B, k, H, W], oldest frame first.

    Lead-in rows beyond k-1 are ignored.

    Position j (0 = newest) of row t is frames[k-1+t-min(j, age[t])]: after a reset the reset
    frame is repeated, as Gymnasium's FrameStackObservation(padding_type="reset") does.
    """
    rows, batch = age.shape
    assert frames.shape[0] >= k - 1 + rows and frames.shape[1] == batch, "k-1 lead-in rows needed"
    frames = frames[len(frames) - (k - 1 + rows) :]
    back = torch.arange(k - 1, -1, -1, device=age.device)  # [k], oldest first
    newest = torch.arange(k - 1, k - 1 + rows, device=age.device)
    source = newest[:, None, None] - torch.minimum(back, age.long()[:, :, None])  # [L, B, k]
    flat = source * batch + torch.arange(batch, device=age.device)[None, :, None]
    stacked = frames.flatten(0, 1).index_select(0, flat.flatten())
    return stacked.view(rows, batch, k, *frames.shape[2:])
