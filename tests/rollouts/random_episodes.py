"""Episodes of random signed lengths (negative: truncated), and how often they are drawn."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MODES = ("next_step", "same_step")
ROWS = (1, 3, 10, 11, 64)
GAMMA = 0.9
LENGTHS = st.lists(
    st.lists(st.integers(1, 9).flatmap(lambda n: st.sampled_from([n, -n])), min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)
PROPERTY = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
