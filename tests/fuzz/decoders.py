"""The decoders of what others have written, each as the fuzzers see it.

`decode` takes bytes of any kind and raises `refusal`, or nothing; `originals` are bytes that it
takes; `mutation` decodes one of them with something changed where the decoder looks for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args, get_origin

import lz4.block
import msgspec
import numpy as np
import safetensors.numpy

import actorrl.runtime.refs  # its references travel inside values
from actorrl.data.fragment import Episode, Fragment
from actorrl.errors import CheckpointError, WireError
from actorrl.experiment import checkpoints
from actorrl.runtime.desk import decode_question
from actorrl.wire import chunks, compression, frames, shared_memory, values
from actorrl.wire.blocks import decode_layout
from actorrl.wire.compression import Compressor
from actorrl.wire.control_messages import Control, decode_control, encode_control
from actorrl.wire.messages import Kind, Message
from tests.fuzz.mutations import mutated, mutated_frames, mutated_value
from tests.wire.test_frames import as_bytes

BODY = {"a": (1, 2.5, "text"), "b": [np.arange(3), None], "c": {"d": b"xyz"}}
ARRAYS = {"x": np.zeros((2, 3), np.float32), "y": np.arange(5)}
PIXELS = {"obs": np.tile(np.arange(64, dtype=np.uint8), 80)}  # large enough for LZ4


class Decoder(NamedTuple):
    originals: list[bytes]
    decode: Callable[[bytes], object]
    mutation: Callable[[random.Random], object]
    refusal: type[Exception] = WireError
    accepts: bool = True  # more than one mutation of a hundred is still valid


def _one_of(items: list[Any], draw: random.Random) -> Any:
    return items[int(draw.random() * len(items))]


def _of_bytes(originals: list[bytes], decode: Callable[[bytes], object]) -> Decoder:
    return Decoder(originals, decode, lambda draw: decode(mutated(_one_of(originals, draw), draw)))


def _glued(parts: list[bytes], tag: int) -> bytes:
    """Several frames as one string of bytes, each after its length; a first byte goes before."""
    return bytes([tag]) + b"".join(len(part).to_bytes(2, "little") + part for part in parts)


def _cut(data: bytes) -> tuple[int, list[bytes]]:
    """The inverse of `_glued`, of any bytes."""
    tag, parts, at = (data[0] if data else 0), [], 1
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "little")
        parts.append(data[at + 2 : end])
        at = end
    return tag, parts


# ---- messages, and what is inside of them ----------------------------------------------------


def messages() -> Decoder:
    slab = np.zeros(4096, np.uint8)
    compressed, _ = frames.encode_compressed(
        Message(Kind.ITEM, "link", BODY, PIXELS, 5, "a/0", 1, deadline=1e9), Compressor()
    )
    originals = [
        as_bytes(frames.encode(Message(Kind.ITEM, "link", BODY, ARRAYS, 5, "a/0", 1, slot=0))),
        as_bytes(frames.encode(Message(Kind.ITEM, "link", BODY, ARRAYS, 5, "a/0", 1), 2, [0, 64])),
        as_bytes(frames.encode(Message(Kind.CALL, "add", [[1], {"k": (2,)}], deadline=1e9))),
        as_bytes(compressed),
        as_bytes(frames.encode(Message(Kind.REPLY, "add", {"plain": [1, 2.5, {"a": b"b"}]}))),
    ]

    def decode(parts: list[bytes], outside: bool) -> object:
        return frames.decode(chunks.join(parts), None if outside else lambda *_: slab, outside)

    def decode_glued(data: bytes) -> object:
        tag, parts = _cut(data)
        return decode(parts, tag % 2 == 1)

    return Decoder(
        [_glued(parts, index) for index, parts in enumerate(originals)],
        decode_glued,
        lambda draw: decode(mutated_frames(_one_of(originals, draw), draw), draw.random() < 0.5),
    )


def plain_values() -> Decoder:
    arrays = [np.arange(3)]
    originals = [
        values.pack(value)[0]
        for value in (
            BODY,
            [[1, -1, 2**40], {"k": (2, ("nested", (True,)))}],
            [[[[[[[[[0.5]]]]]]]], "é" * 40],
            {"peer": actorrl.runtime.refs.ActorRef("rollout/3")},
        )
    ]
    return _of_bytes(originals, lambda data: values.unpack(data, arrays))


def compressed_arrays() -> Decoder:
    draw = random.Random(0)
    plain = [bytes(3000), draw.randbytes(50) * 60, bytes(range(256)) * 8 + draw.randbytes(500)]
    originals = [(lz4.block.compress(data, store_size=False), len(data)) for data in plain]

    def decode(packed: bytes, nbytes: int) -> object:
        data = compression.unpack(packed, nbytes)
        assert len(data) == nbytes
        return data

    def mutation(draw: random.Random) -> object:
        packed, nbytes = _one_of(originals, draw)
        if draw.random() < 0.2:
            nbytes = int(draw.random() * 2 ** int(draw.random() * 50))
        return decode(mutated(packed, draw), nbytes)

    return Decoder(
        [nbytes.to_bytes(8, "little") + packed for packed, nbytes in originals],
        lambda data: decode(data[8:], int.from_bytes(data[:8], "little")),
        mutation,
        accepts=False,
    )


def fragments() -> Decoder:
    fragment = Fragment(
        {"default_policy": {"obs": np.zeros((3, 2)), "rewards": np.zeros((2, 2), np.float32)}},
        num_env_steps=4,
        policy_version=7,
        episodes=[Episode(0, 1.5, 9), Episode(1, -1.0, 3, {"depth": 2.0}, {"red": 1.0})],
        worker_index=2,
        metrics={"seconds": 0.5},
    )
    body, arrays = fragment.to_message()
    payload, _ = values.pack(body)
    names = [*arrays, "", "no separator", "a/b/c", "/"]

    def decode(body: Any, name: str) -> object:
        return Fragment.from_message(body, {**arrays, name: np.zeros(2)})

    def mutation(draw: random.Random) -> object:
        if draw.random() < 0.4:
            wrong = values.unpack(mutated(payload, draw), [])
        else:
            wrong = mutated_value(body, draw)
        return decode(wrong, _one_of(names, draw))

    def decode_bytes(data: bytes) -> object:
        name = names[data[0] % len(names)] if data else ""
        return decode(values.unpack(data[1:], []), name)

    return Decoder([bytes([0]) + payload], decode_bytes, mutation)


# ---- between driver, agents and actors -------------------------------------------------------


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


def control_messages() -> Decoder:
    return _of_bytes([encode_control(example(kind)) for kind in get_args(Control)], decode_control)


def requests_for_memory() -> Decoder:
    """What an actor asks its host's agent, over the memory socket."""
    asks = [
        shared_memory.Ask("create", "rollout/3.2/learner/0.1/samples#4", 2**40),
        shared_memory.Ask("keep", "weights", 4096),
        shared_memory.Ask("open", "", 0),
        shared_memory.Ask("drop", "é" * 40, 2**63 - 1),
    ]
    return _of_bytes([msgspec.msgpack.encode(ask) for ask in asks], shared_memory.decode_ask)


def questions_at_the_desk() -> Decoder:
    """What `actorrl top` and `actorrl stack` ask a run's driver."""
    originals = [
        b'{"ask": "top"}',
        b'{"ask": "stack", "actor": "rollout/3"}',
        b'{"actor": {"a": [1, -2.5e10, null, "\\ud83d\\ude00"]}, "more": true}',
    ]
    return _of_bytes(originals, decode_question)


def layouts_of_blocks() -> Decoder:
    entries = [("policy/w", "<f4", [64, 32]), ("policy/b", "<f8", []), ("steps", "<i8", [1])]
    buffer = np.zeros(16_384, np.uint8)

    def decode(data: bytes) -> object:
        got = decode_layout(data, buffer.nbytes)
        for name, dtype, shape in got:  # what a reader does with it
            nbytes = frames.array_nbytes(name, dtype, shape)
            buffer[:nbytes].view(dtype).reshape(shape)
        return got

    return _of_bytes([msgspec.msgpack.encode(entries)], decode)


# ---- files -----------------------------------------------------------------------------------


def checkpoint_states() -> Decoder:
    """Content whose hashes agree with its manifest: somebody has made it so."""
    state = {"w": np.arange(6.0).reshape(2, 3), "best": float("inf"), "n": [1, {"k": np.array(2)}]}
    contents = checkpoints.encode_state(state)
    text, arrays = contents[checkpoints.STATE], contents[checkpoints.ARRAYS]
    other = safetensors.numpy.save({"w": np.zeros(2, np.uint8)})

    def mutation(draw: random.Random) -> object:
        text_of = mutated(text, draw) if draw.random() < 0.6 else text
        arrays_of = arrays if text_of is not text else mutated(arrays, draw)
        return checkpoints.decode_state("c", text_of, arrays_of)

    def decode_glued(data: bytes) -> object:
        _, parts = _cut(data)
        return checkpoints.decode_state("c", *[*parts, b"", b""][:2])

    return Decoder(
        [_glued([text, each], 0) for each in (arrays, other)],
        decode_glued,
        mutation,
        CheckpointError,
    )


DECODERS: dict[str, Callable[[], Decoder]] = {
    "messages": messages,
    "values": plain_values,
    "control": control_messages,
    "compressed": compressed_arrays,
    "memory": requests_for_memory,
    "desk": questions_at_the_desk,
    "layouts": layouts_of_blocks,
    "fragments": fragments,
    "checkpoints": checkpoint_states,
}
