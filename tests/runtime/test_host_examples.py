"""The folder cluster/: every example loads and can be placed, and its README tells every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actorrl.config import accepted
from actorrl.runtime.actor import Actor
from actorrl.runtime.counts import default_workers, role_count
from actorrl.runtime.host_keys import DefaultKeys, FileKeys, HostKeys
from actorrl.runtime.host_specs import FailureSpec, NetworkSpec, RoleSpec
from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.marked_yaml import metas_of, special_of
from actorrl.runtime.offers import assumed_offers
from actorrl.runtime.placement import Host, place
from actorrl.runtime.program import Program

FOLDER = Path(__file__).parents[2] / "cluster"
EXAMPLES = sorted(path.name for path in FOLDER.iterdir() if path.suffix == ".yml")
README = (FOLDER / "README.md").read_text(encoding="utf-8")
HERE = Host("local", 2, 16 * 10**9)


@pytest.mark.parametrize("name", [*EXAMPLES, "hostfile"])
def test_an_example_is_loaded_and_placed(name):
    spec = load_cluster(FOLDER / name, ssh_config=None)
    program = Program(name)
    program.add_group("replay", Actor, count=role_count(spec, "replay", None, 2), cpu=0.2)
    program.add("learner", Actor, gpu=spec.role("learner").gpu or 0)
    workers = role_count(spec, "rollout", None, default_workers(spec, HERE.num_cpus))
    program.add_group("rollout", Actor, count=workers)
    places, _ = place(program, assumed_offers(spec, HERE, program), spec.roles)
    assert places.keys() == program.nodes.keys()
    by_name = {host.name: host for host in spec.hosts}
    for slot, at in places.items():
        roles = by_name[at.host].roles
        assert not roles or slot.partition("/")[0] in roles


def test_every_kind_of_example_is_there():
    wanted = {"laptop.yml", "two_hosts.yml", "gpu_and_cpu.yml", "jump_host.yml"}
    assert wanted <= set(EXAMPLES)
    assert all(f"]({name})" in README for name in [*wanted, "hostfile"])


def test_the_jump_example_goes_through_one_and_through_two():
    spec = load_cluster(FOLDER / "jump_host.yml", ssh_config=None)
    hops = {host.name: [str(hop) for hop in host.ssh.proxy_jump] for host in spec.remote_hosts}
    assert hops["node1"] == ["alice@gate.example.org:2222"]
    assert hops["deep2.inner"] == ["alice@gate.example.org:2222", "rl@inner-gate"]


# ---- the reference -------------------------------------------------------------------------------

# Heading of the README -> the type that its table tells, and a type whose keys are told elsewhere.
SECTIONS: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct] | None]] = {
    "The file": (FileKeys, None),
    "`defaults`, and again under a host": (DefaultKeys, None),
    "A host of `hosts`": (HostKeys, DefaultKeys),
    "A role of `roles`": (RoleSpec, None),
    "`network`": (NetworkSpec, None),
    "`failure`": (FailureSpec, None),
}


def test_the_readme_tells_every_key_with_type_default_and_meaning():
    """A failure shows the rows that the README should have."""
    sections = dict(re.findall(r"^### (.*?)\n(.*?)(?=^#|\Z)", README, re.MULTILINE | re.DOTALL))
    found = {
        title: [line for line in text.splitlines() if line.startswith("| `")]
        for title, text in sections.items()
    }
    assert found == {title: list(rows_of(*types)) for title, types in SECTIONS.items()}


def rows_of(schema: Any, told: Any = None, prefix: str = "") -> Iterator[str]:
    """A table row for every key of a type, in its order. Mappings with a section of their own have
    one row, others a row for each key inside."""
    elsewhere = {field.name for field in msgspec.structs.fields(told)} if told else ()
    for field in msgspec.structs.fields(schema):
        if field.name in elsewhere:
            continue
        inner = _struct_of(field.type)
        if inner is not None and inner not in [kind for kind, _ in SECTIONS.values()]:
            yield from rows_of(inner, prefix=f"{prefix}{field.name}.")
            continue
        meta = next(meta for meta in metas_of(field.type) if meta.description)
        cells = (f"`{prefix}{field.name}`", _takes(field.type), _default(field), meta.description)
        yield f"| {' | '.join(map(str, cells))} |"


def _struct_of(annotation: Any) -> Any:
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    is_struct = isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)
    return annotation if is_struct else None


def _takes(annotation: Any) -> str:
    special = special_of(annotation)
    if _struct_of(annotation) is not None:
        return "a mapping"
    words = special.expected if special is not None else accepted(annotation)
    words += " or 'auto'" if special is not None and "auto" in accepted(annotation) else ""
    words = re.sub(r" of \[\w+Keys\]", "", words)
    return words.removesuffix(" or null").replace("'", "`").replace("[text]", "texts")


def _default(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    if default is None or isinstance(default, msgspec.Struct):
        return "-"
    if isinstance(default, tuple):
        return f"`{default[0]}-{default[1]}`"
    text = f"{default:g}" if isinstance(default, float) else msgspec.json.encode(default).decode()
    return f"`{text}`".replace('`"', "`").replace('"`', "`")
