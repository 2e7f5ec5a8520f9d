"""Actors and the machines they live on. Knows no reward.

Reading order: `actor` (what a user writes), `examples` (a few of them), `refs` and `calls` (talking
to one), `program` (actors and the links between them, as a value), `links` (both ends of a link),
`context` and `mailbox` (an actor's place, and its one loop), `answering` and `failure` (what a call
gets back), `host_specs` (a cluster as a value) and `hosts` (how it is read: `host_file` with
`marked_yaml`, `host_lists`, `host_ranges`, `ssh_config`), `offers` (what the hosts have),
`placement` and `supervisor` (pure: who goes where, who is started again), then the processes:
`cluster`, `service` and `agent_link` (the driver's side), `agent` with `starter` and `preload`,
`child` with `control`; `launchers` (how an agent is started, or none at all), `door` (what all
this needs of the wire), `strays`, `causes`, `inventory`, `run_directory` (one question each).
"""
