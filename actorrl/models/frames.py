"""Frame stacks on the learner's device: fragments carry every frame once."""

from __future__ import annotations

import torch
from torch import Tensor


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
