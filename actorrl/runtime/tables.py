"""Who lives where, as each host sees it: the tables of actors and of agents' relays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from actorrl.runtime.fleet import Fleet
from actorrl.runtime.host_specs import LOCAL
from actorrl.runtime.program import Link, State
from actorrl.runtime.refs import DRIVER
from actorrl.runtime.relay import relay_name
from actorrl.runtime.slots import Slot
from actorrl.wire.control_messages import RelayPlan
from actorrl.wire.messages import Peer


def peers(
    fleet: Fleet, slots: Iterable[Slot], keys: Mapping[str, str], driver: Peer, viewer: str
) -> dict[str, Peer]:
    """All that can be reached, for the actors of host `viewer`. `keys`: slot -> public key."""
    table = {}
    for slot in slots:
        if slot.address and slot.host is not None:
            tcp = fleet.way(viewer, slot.host, slot.tcp)
            table[slot.name] = Peer(
                slot.incarnation, slot.address, slot.host, tcp, keys.get(slot.name, "")
            )
    tcp = fleet.way(viewer, LOCAL, driver.tcp)
    table[DRIVER] = Peer(0, driver.address, LOCAL, tcp, driver.key)
    return table


def relay_plan(
    fleet: Fleet, links: Mapping[str, Link], host_of: Callable[[str], str | None], viewer: str
) -> RelayPlan:
    """What the agent of `viewer` pulls of other hosts' state: what is read there. The driver may
    read all of it."""
    agents = {}
    for name, agent in fleet.agents.items():
        if agent.hello is not None and agent.keys is not None:
            tcp = fleet.way(viewer, name, agent.hello.tcp)
            agents[relay_name(name)] = Peer(agent.incarnation, "", name, tcp, agent.keys.public)
    pulls = {}
    for link in links.values():
        if isinstance(link.kind, State):
            writer = host_of(link.sources[0])
            readers = {host_of(target) for target in link.targets} | {LOCAL}
            if writer is not None and writer != viewer and viewer in readers:
                pulls[link.name] = relay_name(writer)
    return RelayPlan(agents, pulls)
