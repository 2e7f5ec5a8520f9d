"""Threads, devices, memory and priority, set by the role in its process, not by a launcher."""

from __future__ import annotations

import contextlib
import ctypes
import os

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT_BYTES = 1 << 30
_NICE_OF_SAMPLING = 5  # a third of the weight


def use_threads(num_threads: int, inline: bool) -> None:
    """In the driver's own process (`inline`) the user's setting stays."""
    if not inline:
        torch.set_num_threads(num_threads)


def keep_freed_memory(inline: bool) -> None:
    """Have malloc keep what is freed for the next time: glibc hands every block above 32 MiB back
    to the kernel, which clears its pages anew for each update (a tenth of IMPALA's CPU on Atari).
    Nothing happens where the C library is another."""
    if not inline:
        with contextlib.suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_freed_memory() -> None:
    """The opposite, for who needs much only now and then. glibc alone has it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def for_learning(num_threads: int, num_gpus: float, inline: bool) -> str:
    """What every process that learns begins with; its device."""
    use_threads(num_threads, inline)
    keep_freed_memory(inline)
    return device_for(num_gpus)


def yield_to_learners(inline: bool) -> None:
    """For processes that sample: where cores are short, those that learn go first. Otherwise a
    learner that everybody waits for loses a fifth of its core to workers that then stand still."""
    if not inline:
        os.nice(_NICE_OF_SAMPLING)


def device_for(num_gpus: float) -> str:
    """The agent has put the right GPU in front, so it is always the first that is visible."""
    if num_gpus <= 0:
        return "cpu"
    if not torch.cuda.is_available():
        raise RuntimeError(f"num_gpus={num_gpus:g}, but torch finds no CUDA device in this process")
    # fp32 means fp32: behaviour log-probabilities from CPU workers must agree to 1e-5.
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"
