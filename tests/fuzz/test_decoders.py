"""Every decoder of what others have written: wrong bytes raise its error, and nothing else.

100,000 seeded mutations each, in seconds; for more, or other ones:

    ACTORRL_FUZZ_MUTATIONS=10000000 ACTORRL_FUZZ_SEED=7 scripts/test tests/fuzz --timeout 0

`coverage_guided.py`, beside this file, looks for what such mutations do not reach.
"""

from __future__ import annotations

import os
import random
import resource
import sys

import pytest

from tests.fuzz.decoders import DECODERS, Decoder

NUM_MUTATIONS = int(os.environ.get("ACTORRL_FUZZ_MUTATIONS", "100000"))
SEED = int(os.environ.get("ACTORRL_FUZZ_SEED", "1"))
MAX_GROWTH_BYTES = 300e6


@pytest.mark.parametrize("name", DECODERS)
def test_mutations_are_taken_or_refused(name):
    decoder = DECODERS[name]()
    before = _highest_memory()
    accepted, refused = survives(decoder)
    assert _highest_memory() - before < MAX_GROWTH_BYTES
    assert refused > NUM_MUTATIONS // 3
    assert accepted > NUM_MUTATIONS // 100 or not decoder.accepts


@pytest.mark.parametrize("name", DECODERS)
def test_what_the_guided_fuzzer_starts_from_is_taken(name):
    decoder = DECODERS[name]()
    for original in decoder.originals[:1]:
        decoder.decode(original)


def survives(decoder: Decoder) -> tuple[int, int]:
    """How many mutations were taken for something, and how many refused."""
    draw = random.Random(SEED)
    accepted = refused = 0
    for number in range(NUM_MUTATIONS):
        try:
            decoder.mutation(draw)
            accepted += 1
        except decoder.refusal:
            refused += 1
        except BaseException as error:
            error.add_note(f"mutation {number} of seed {SEED}")
            raise
    return accepted, refused


def _highest_memory() -> int:
    unit = 1024 if sys.platform == "linux" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
