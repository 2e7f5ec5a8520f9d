"""The SSH connection to a host breaks while TCP still gets through."""

from __future__ import annotations

import threading

import pytest

from tests.cluster.light import counters_over
from tests.cluster.runs import agent_and_connection
from tests.runtime.clusters import wait_until

PATIENCE_S = 60.0
LEASE_S = 4.0
STALL_S = 7.0  # longer than the lease


@pytest.mark.slow
def test_a_broken_lifeline_is_opened_again_and_holds_while_the_driver_stands_still(flat, tmp_path):
    events: list[dict] = []
    goes_on = threading.Event()

    def stand_still(event: dict) -> None:
        """Once it is mended; this is the thread that answers beats."""
        events.append(event)
        if event["event"] == "host_lifeline_restored" and not goes_on.wait(STALL_S):
            goes_on.set()

    host = flat.addresses[0]
    hosts = flat.cluster(tmp_path / "cluster.yml", host)
    hosts.write_text(hosts.read_text() + f"failure: {{lease_s: {LEASE_S}}}\n")
    with counters_over(hosts, 1, on_event=stand_still) as cluster:

        def told(kind: str) -> int:
            return [event["event"] for event in events].count(kind)

        agent, _ = agent_and_connection(cluster.run_id, host)
        for times in (1, 2):  # what took its place may break as well
            _, connection = agent_and_connection(cluster.run_id, host)
            connection.kill()
            wait_until(lambda n=times: told("host_lifeline_restored") == n, PATIENCE_S)
            assert goes_on.wait(PATIENCE_S)
            assert cluster.ref("counter/0").add.call(1).result() == times
        assert told("host_lifeline_broken") == 2
        assert told("host_lost") == cluster.num_restarts() == 0
        assert agent.is_running()
    assert not agent.is_running()
