"""Before torch is imported: one thread in the tests' own process. Two threads on small arrays spend
their time waiting for each other as soon as anything else runs on the machine."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
