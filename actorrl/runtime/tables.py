"""Who lives where, as each host sees it: the tables of actors and of agents' relays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from actorrl.runtime.fleet import Fleet
from actorrl.runtime.host_specs import LOCAL
from actorrl.runtime.program import Link, State
from actorrl.runtime.refs import DRIVER
from actorrl.runtime.relay import relay_name
from actorrl.runtime.supervisor import Slot
from actorrl.wire.messages import Peer, RelayPlan
from actorrl.wire.sockets import tcp_address


def peers(
    fleet: Fleet, slots: Iterable[Slot], keys: Mapping[str, str], driver: Peer, viewer: str
) -> dict[str, Peer]:
    """All that can be reached, for the actors of host `viewer`. `keys`: slot -> public key."""
    table = {}
    for slot in slots:
        if slot.address and slot.host is not None:
            tcp = seen_from(fleet, viewer, slot.host, slot.tcp)
            table[slot.name] = Peer(
                slot.incarnation, slot.address, slot.host, tcp, keys.get(slot.name, "")
            )
    tcp = seen_from(fleet, viewer, LOCAL, driver.tcp)
    table[DRIVER] = Peer(0, driver.address, LOCAL, tcp, driver.key)
    return table


def seen_from(fleet: Fleet, viewer: str, host: str, tcp: str) -> str:
    """A listener of `host`, as `viewer` dials it."""
    if not tcp or viewer == host:
        return tcp
    port = int(tcp.rpartition(":")[2])
    other = fleet.agents[viewer if host == LOCAL else host].prepared
    if other is None:
        return ""
    return fleet.seen(other, port) if host == LOCAL else tcp_address(other.address, port)


def relay_plan(
    fleet: Fleet, links: Mapping[str, Link], host_of: Callable[[str], str | None], viewer: str
) -> RelayPlan:
    """What the agent of `viewer` pulls of other hosts' state: what is read there. The driver may
    read all of it."""
    agents = {}
    for name, agent in fleet.agents.items():
        if agent.hello is not None and agent.keys is not None:
            tcp = seen_from(fleet, viewer, name, agent.hello.tcp)
            agents[relay_name(name)] = Peer(agent.incarnation, "", name, tcp, agent.keys.public)
    pulls = {}
    for link in links.values():
        if isinstance(link.kind, State):
            writer = host_of(link.sources[0])
            readers = {host_of(target) for target in link.targets} | {LOCAL}
            if writer is not None and writer != viewer and viewer in readers:
                pulls[link.name] = relay_name(writer)
    return RelayPlan(agents, pulls)
