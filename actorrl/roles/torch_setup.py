"""Threads and devices of torch, set by the role that runs in the process, not by a launcher."""

from __future__ import annotations

import torch


def use_threads(num_threads: int, inline: bool) -> None:
    """In the driver's own process (`inline`) the user's setting stays."""
    if not inline:
        torch.set_num_threads(num_threads)


def device_for(num_gpus: float) -> str:
    """The agent has put the right GPU in front, so it is always the first that is visible."""
    if num_gpus <= 0:
        return "cpu"
    if not torch.cuda.is_available():
        raise RuntimeError(f"num_gpus={num_gpus:g}, but torch finds no CUDA device in this process")
    # fp32 means fp32: behaviour log-probabilities from CPU workers must agree to 1e-5.
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"
