"""Actors and the machines they live on. Knows no reward.

Reading order: `actor` (what a user writes), `examples` (a few of them), `refs` and `calls` (talking
to one), `program` (actors and the links between them, as a value), `links` (both ends of a link),
`context` and `mailbox` (an actor's place, and its one loop), `answering` and `failure` (what a call
gets back), `host_specs` (a cluster as a value) and `hosts` (how it is read: `host_file` with
`marked_yaml`, `host_lists`, `host_ranges`, `ssh_config`), `offers` (what the hosts have),
`placement`, `memory_limits`, `supervisor`, `host_states` (pure: who goes where and what it may
hold, who is started again, which host is there), then the processes. The driver's side: `cluster`,
`service` (the loop), `cast` and `housing` (what is done with actors and hosts), `fleet` with
`agent_processes`, `switchboard`, `tables`, `permissions` and `ways_needed` (its agents, their ends,
the sockets to them, what is told to whom, who listens), `launch` and `launchers` (how an agent is
started, or none at all),
`chronicle` (events), `reception` with `desk` and `log_book` (who asks, and what is reported). A
host's agent: `agent` and `agent_loop` with `driver_line`, `actors_line`, `starter`, `preload`,
`running`, `vitals` and `progress` (who gets on), `agent_news`,
`log_forwarder`, `relay` (weights cross to a host once). An actor's process: `child` with `control`,
`door` (what it needs of the wire). One question each: `strays`, `causes`, `inventory`,
`run_directory`.
"""
