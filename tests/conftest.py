"""Before torch is imported: one thread in the tests' own process. Two threads on small arrays spend
their time waiting for each other as soon as anything else runs on the machine."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _the_same_random_numbers_in_every_run() -> None:
    """A test that draws without a seed of its own draws the same each time."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
