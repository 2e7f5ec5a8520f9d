"""A policy's network in a file that acts without actorrl: TorchScript, or ONNX.

N rows in any order, K numbers of a flat action, n outputs of the network.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actorrl.errors import ConfigError, how_to_install
from actorrl.models.precision import in_float32
from actorrl.paths import made
from actorrl.policies.base import Policy


def export_model(policy: Policy, folder: Path, onnx: int | None) -> str:
    """See `Policy.export_model`."""
    if onnx is not None and importlib.util.find_spec("onnx") is None:
        raise ConfigError(
            "onnx: needs the package onnx, which is not installed; install it with:"
            f" {how_to_install('onnx')}"
        )
    if not hasattr(policy, "model"):
        raise ConfigError(
            f"export_model: {type(policy).__name__} has no torch network that could be exported"
        )
    with in_float32(policy.model):  # few who run such files convolve in bfloat16
        _write(policy, folder, onnx)
    return str(folder)


def _write(policy: Policy, folder: Path, onnx: int | None) -> None:
    network = Greedy(policy).eval()
    inputs = _inputs(policy, rows=2)
    traced = _traced(network, inputs, _inputs(policy, rows=3))
    made("export_model", folder)
    file = "model.pt" if onnx is None else "model.onnx"
    about = _described(policy, file, inputs)
    with _quiet():
        if onnx is None:
            torch.jit.save(traced, str(folder / file))
        else:
            _save_onnx(network, inputs, folder / file, onnx, about)
    (folder / "model.json").write_text(json.dumps(about, indent=2) + "\n")


class Greedy(nn.Module):
    """obs [N, ...] (and the state's parts) -> the environment's actions [N, ...] (those of a Dict
    or Tuple flat, [N, K]), outputs [N, n], and the state's parts after."""

    scale: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor
    whole: Tensor

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.model = policy.model
        self._policy = policy
        layout = policy.action_layout
        affine = layout.affine()
        self._shape = layout.shape
        self._dtype = torch.from_numpy(np.empty(0, affine.dtype)).dtype
        for name, column in affine._asdict().items():
            if name != "dtype":
                kind = np.bool_ if name == "whole" else np.float32
                self.register_buffer(name, torch.from_numpy(column.astype(kind)))

    def forward(self, obs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        actions, outputs, after = self._policy.greedy(obs, state)
        flat = actions.reshape(actions.shape[0], self.scale.shape[0]).float()
        moved = flat * self.scale + self.shift
        moved = torch.minimum(torch.maximum(moved, self.low), self.high)
        moved = torch.where(self.whole, moved.round(), moved)
        found = (moved.reshape(-1, *self._shape).to(self._dtype), outputs, *after)
        return tuple(x.detach() for x in found)


def _inputs(policy: Policy, rows: int) -> tuple[Tensor, ...]:
    """Observations [rows, ...] within reason, and the state at an episode's start."""
    space, random = policy.observation_space, np.random.default_rng(rows)
    shape = (rows, *space.shape)
    if policy.frame_stack > 1:
        shape = (rows, policy.frame_stack, *space.shape)
    obs = random.uniform(0.0, 255.0 if space.dtype == np.uint8 else 1.0, shape).astype(space.dtype)
    return tuple(torch.from_numpy(np.array(x)) for x in (obs, *policy.initial_state(rows)))


def _quiet() -> warnings.catch_warnings[None]:
    """Torch tells of the tracer's age, and of Python's constants in a trace: these are checked."""
    return warnings.catch_warnings(action="ignore")


@torch.no_grad()
def _traced(network: Greedy, inputs: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> Any:
    """Tried out with another number of rows: a trace has no branches, and what depends on the
    numbers themselves comes out wrong."""
    try:
        with _quiet():
            traced = torch.jit.trace(network, inputs, check_trace=False)
            found = list(zip(network(*others), traced(*others), strict=True))
    except Exception as error:  # a user's network may do anything
        reason = str(error).strip().splitlines()[-1:]
        raise ConfigError(
            f"export_model: this network cannot be traced: {' '.join(reason)}; a trace has no"
            " len(tensor) or int(tensor), but tensor.shape[0]"
        ) from error
    for own, other in found:
        if own.shape != other.shape or not torch.allclose(own.float(), other.float(), atol=1e-5):
            raise ConfigError(
                "export_model: this network's trace gives other numbers than the network, expected"
                " one whose forward does not branch on what it sees"
            )
    return traced


def _save_onnx(
    network: Greedy, inputs: tuple[Tensor, ...], path: Path, opset: int, about: dict[str, Any]
) -> None:
    names = [entry["name"] for entry in about["inputs"]]
    torch.onnx.export(
        network,
        inputs,
        str(path),
        opset_version=opset,
        dynamo=False,  # the other way needs a third package
        input_names=names,
        output_names=about["outputs"],
        dynamic_axes={name: {0: "N"} for name in (*names, *about["outputs"])},
    )


def _described(policy: Policy, file: str, inputs: tuple[Tensor, ...]) -> dict[str, Any]:
    states = [f"state_{i}" for i in range(len(inputs) - 1)]
    space = policy.observation_space
    return {
        "file": file,
        "policy": type(policy).__name__,
        "observation_space": str(getattr(space, "original_space", space)),
        "action_space": str(policy.action_space),
        "inputs": [
            {"name": name, "shape": ["N", *x.shape[1:]], "dtype": str(x.numpy().dtype)}
            for name, x in zip(["obs", *states], inputs, strict=True)
        ],
        "outputs": ["actions", "outputs", *(f"{name}_after" for name in states)],
        "initial_state": [part.tolist() for part in policy.get_initial_state()],
    }
