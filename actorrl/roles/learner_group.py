"""Several learners of one run, each in a process of its own on the same host: sums over gloo, or
NCCL where each has a GPU of its own.

They find one another by a file in the run's own directory, which only this user can enter, and
listen on the loopback interface alone: torch's TCP store would listen on every interface,
unauthenticated. No wait is longer than `TIMEOUT_S`; the end of another process is seen at once.

A sum is the same in all processes to the last bit, so learners that step along it stay equal.
"""

from __future__ import annotations

import datetime
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from actorrl.models.group import Group, Share

MEET_S = 20.0  # those who are to meet have said that they are there
TIMEOUT_S = 60.0  # one learner computes for longer than another: seconds; a stopped one for ever
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


class GroupLost(Exception):
    """Another learner has gone, or has not answered within `TIMEOUT_S`: nothing is shared any
    more."""


class LearnerGroup(Group):
    """A learner's end. After a loss the lead (rank 0) goes on with its own rows, as if alone, and
    the others stop (GroupLost): the lead's weights are the run's."""

    def __init__(
        self,
        store: Path,
        rank: int,
        size: int,
        device: str = "cpu",
        whole_gpu: bool = False,
        meet_s: float = MEET_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Meet the others, who name the same file. Raises GroupLost if they do not come."""
        self.size = size
        self._rank = rank
        self._device = device if whole_gpu else "cpu"  # two on one GPU NCCL refuses
        self._options = dist.AllreduceOptions()
        self._options.timeout = datetime.timedelta(seconds=timeout_s)
        self._others: Any = None  # torch's process group, until it is lost
        try:
            self._others = _meet(store, rank, size, whole_gpu, meet_s)
        except RuntimeError as error:
            raise GroupLost(str(error)) from None

    @property
    def is_lost(self) -> bool:
        return self._others is None

    def close(self) -> None:
        """The others see that at once, whatever they wait for."""
        self._others = None

    def sum(self, x: Tensor) -> Tensor:
        if self._others is None:
            return x
        total = x.detach().to(self._device, copy=True).contiguous()
        try:
            self._others.allreduce([total], self._options).wait()
        except RuntimeError as error:
            self.close()
            if self._rank:
                raise GroupLost(str(error)) from None
            return x
        return total.to(x.device)

    def each(self, x: Tensor) -> Tensor:
        """Everybody's `x` [n], by rank: [size, n]; after a loss this learner's alone."""
        found = torch.zeros((self.size, *x.shape), dtype=x.dtype)
        found[self._rank] = x
        found = self.sum(found)
        return x[None] if self.is_lost else found

    def place(self, num_rows: int) -> Share:
        counts = torch.zeros(self.size, dtype=torch.float64)
        counts[self._rank] = num_rows
        counts = self.sum(counts)
        return Share(int(counts[: self._rank].sum()), int(counts.sum()))

    def mean(self, total: Tensor, num_rows: Tensor) -> Tensor:
        sums = self.sum(torch.cat([total.double().view(-1), num_rows.double().view(1)]))
        return (sums[:-1] / sums[-1].clamp(min=1)).to(total.dtype).view(total.shape)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        numbers = x.double()
        count = torch.tensor(float(x.numel()), dtype=torch.float64, device=x.device)
        sums = self.sum(torch.stack([count, numbers.sum(), numbers.square().sum()]))
        mean, square = sums[1:] / sums[0].clamp(min=1)
        return mean.to(x.dtype), (square - mean.square()).clamp(min=0).sqrt().to(x.dtype)

    def agrees(self, text: str) -> bool:
        """Whether everybody says the same: sums of a hash and of its square tell, in whole numbers
        that float64 holds."""
        said = zlib.crc32(text.encode()) % 2**20
        count, total, squares = self.sum(torch.tensor([1, said, said**2], dtype=torch.float64))
        return int(count) * int(squares) == int(total) ** 2

    def average(self, gradient: Tensor, rows: Tensor | None) -> None:
        assert rows is not None, "several learners weigh their gradients by their rows"
        count = rows.sum().to(gradient.dtype).view(1)
        sums = self.sum(torch.cat([gradient * count, count]))
        torch.div(sums[:-1], sums[-1].clamp(min=1), out=gradient)


def _meet(store: Path, rank: int, size: int, whole_gpu: bool, timeout_s: float) -> Any:
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = _LOOPBACK
    timeout = datetime.timedelta(seconds=timeout_s)
    file = dist.FileStore(str(store), size)  # type: ignore[attr-defined]  # torch's stub lacks it
    if whole_gpu:
        options = dist.ProcessGroupNCCL.Options()
        options._timeout = timeout
        return dist.ProcessGroupNCCL(file, rank, size, options)
    return dist.ProcessGroupGloo(file, rank, size, timeout)
