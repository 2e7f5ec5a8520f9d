"""Every decoder of what others have written: wrong bytes raise WireError, and nothing else.

100,000 seeded mutations each, in seconds; for more, or other ones:

    ACTORRL_FUZZ_MUTATIONS=10000000 ACTORRL_FUZZ_SEED=7 pytest tests/fuzz --timeout 0
"""

from __future__ import annotations

import os
import random
import resource
import sys
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import lz4.block
import msgspec
import numpy as np

from actorrl.data.fragment import Episode, Fragment
from actorrl.errors import WireError
from actorrl.wire import chunks, compression, frames, values
from actorrl.wire.blocks import decode_layout
from actorrl.wire.compression import Compressor
from actorrl.wire.messages import Control, Kind, Message, decode_control, encode_control
from tests.fuzz.mutations import mutated, mutated_frames, mutated_value
from tests.wire.test_frames import as_bytes

NUM_MUTATIONS = int(os.environ.get("ACTORRL_FUZZ_MUTATIONS", "100000"))
SEED = int(os.environ.get("ACTORRL_FUZZ_SEED", "1"))
MAX_GROWTH_BYTES = 300e6

Decode = Callable[[random.Random], object]


def survives(decode: Decode) -> tuple[int, int]:
    """How many mutations were taken for something, and how many refused."""
    draw = random.Random(SEED)
    accepted = refused = 0
    before = _highest_memory()
    for number in range(NUM_MUTATIONS):
        try:
            decode(draw)
            accepted += 1
        except WireError:
            refused += 1
        except BaseException as error:
            error.add_note(f"mutation {number} of seed {SEED}")
            raise
    assert _highest_memory() - before < MAX_GROWTH_BYTES
    return accepted, refused


def _highest_memory() -> int:
    unit = 1024 if sys.platform == "linux" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


BODY = {"a": (1, 2.5, "text"), "b": [np.arange(3), None], "c": {"d": b"xyz"}}
ARRAYS = {"x": np.zeros((2, 3), np.float32), "y": np.arange(5)}
PIXELS = {"obs": np.tile(np.arange(64, dtype=np.uint8), 80)}  # large enough for LZ4


def test_messages():
    slab = np.zeros(4096, np.uint8)
    compressed, _ = frames.encode_compressed(
        Message(Kind.ITEM, "link", BODY, PIXELS, 5, "a/0", 1, deadline=1e9), Compressor()
    )
    originals = [
        as_bytes(frames.encode(Message(Kind.ITEM, "link", BODY, ARRAYS, 5, "a/0", 1, slot=0))),
        as_bytes(frames.encode(Message(Kind.ITEM, "link", BODY, ARRAYS, 5, "a/0", 1), 2, [0, 64])),
        as_bytes(frames.encode(Message(Kind.CALL, "add", [[1], {"k": (2,)}], deadline=1e9))),
        as_bytes(compressed),
    ]

    def decode(draw: random.Random) -> object:
        original = originals[int(draw.random() * len(originals))]
        outside = draw.random() < 0.5
        parts = chunks.join(mutated_frames(original, draw))
        return frames.decode(parts, None if outside else lambda *_: slab, outside)

    accepted, refused = survives(decode)
    assert refused > NUM_MUTATIONS // 3 and accepted > NUM_MUTATIONS // 100


def test_values():
    arrays = [np.arange(3)]
    originals = [
        values.pack(value)[0]
        for value in (
            {"a": (1, 2.5, "text"), "b": [np.arange(3), None], "c": {"d": b"xyz"}},
            [[1, -1, 2**40], {"k": (2, ("nested", (True,)))}],
            [[[[[[[[[0.5]]]]]]]], "é" * 40],
        )
    ]

    def decode(draw: random.Random) -> object:
        return values.unpack(mutated(originals[int(draw.random() * 3)], draw), arrays)

    accepted, refused = survives(decode)
    assert refused > NUM_MUTATIONS // 3 and accepted > NUM_MUTATIONS // 100


def example(annotation: Any) -> Any:
    """A value of a field's type."""
    plain = {
        str: "text",
        int: 3,
        float: 1.5,
        bool: True,
        bytes: b"blob",
        type(None): None,
        Any: 0.5,
    }
    if annotation in plain:
        return plain[annotation]
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation(
            **{field.name: example(field.type) for field in msgspec.structs.fields(annotation)}
        )
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        return [example(arguments[0])]
    if origin is dict:
        return {example(arguments[0]): example(arguments[1])}
    if origin is tuple:
        return tuple(example(argument) for argument in arguments if argument is not ...)
    return arguments[0] if origin is Literal else example(arguments[0])


def test_control_messages():
    originals = [encode_control(example(kind)) for kind in get_args(Control)]

    def decode(draw: random.Random) -> object:
        return decode_control(mutated(originals[int(draw.random() * len(originals))], draw))

    accepted, refused = survives(decode)
    assert refused > NUM_MUTATIONS // 3 and accepted > NUM_MUTATIONS // 100


def test_compressed_arrays():
    draw = random.Random(0)
    plain = [bytes(3000), draw.randbytes(50) * 60, bytes(range(256)) * 8 + draw.randbytes(500)]
    originals = [(lz4.block.compress(data, store_size=False), len(data)) for data in plain]

    def decode(draw: random.Random) -> object:
        packed, nbytes = originals[int(draw.random() * 3)]
        if draw.random() < 0.2:
            nbytes = int(draw.random() * 2 ** int(draw.random() * 50))
        data = compression.unpack(mutated(packed, draw), nbytes)
        assert len(data) == nbytes
        return data

    _, refused = survives(decode)
    assert refused > NUM_MUTATIONS // 3


def test_layouts_of_blocks():
    entries = [("policy/w", "<f4", [64, 32]), ("policy/b", "<f8", []), ("steps", "<i8", [1])]
    original = msgspec.msgpack.encode(entries)
    buffer = np.zeros(16_384, np.uint8)

    def decode(draw: random.Random) -> object:
        got = decode_layout(mutated(original, draw), buffer.nbytes)
        for name, dtype, shape in got:  # what a reader does with it
            nbytes = frames.array_nbytes(name, dtype, shape)
            buffer[:nbytes].view(dtype).reshape(shape)
        return got

    accepted, refused = survives(decode)
    assert refused > NUM_MUTATIONS // 3 and accepted > NUM_MUTATIONS // 100


def test_fragments():
    fragment = Fragment(
        {"default_policy": {"obs": np.zeros((3, 2)), "rewards": np.zeros((2, 2), np.float32)}},
        num_env_steps=4,
        policy_version=7,
        episodes=[Episode(0, 1.5, 9), Episode(1, -1.0, 3)],
        worker_index=2,
        metrics={"seconds": 0.5},
    )
    body, arrays = fragment.to_message()
    payload, _ = values.pack(body)
    names = [*arrays, "", "no separator", "a/b/c", "/"]

    def decode(draw: random.Random) -> object:
        if draw.random() < 0.4:
            wrong = values.unpack(mutated(payload, draw), [])
        else:
            wrong = mutated_value(body, draw)
        name = names[int(draw.random() * len(names))]
        return Fragment.from_message(wrong, {**arrays, name: np.zeros(2)})

    accepted, refused = survives(decode)
    assert refused > NUM_MUTATIONS // 3 and accepted > NUM_MUTATIONS // 100
