"""Actors and the machines they live on. Knows no reward.

Reading order: `actor` (what a user writes), `examples` (a few of them), `refs` and `calls` (talking
to one), `program` (actors and the links between them, as a value), `links` and `credit_links` (both
ends of a link), `context` and `mailbox` (an actor's place, and its one loop; `timers`), `answering`
and `failure` (what a call gets back), `ledger` (what it leaves to its successor), `host_specs` (a
cluster as a value) and `hosts` (how it is read: `host_file` with `host_keys` and `marked_yaml`,
`host_lists`, `host_ranges`, `ssh_config`), `offers` (what the hosts have), `counts`, `placement`,
`memory_limits`, `supervisor` with `slots`, `host_states` (pure: how many go where and what they may
hold, who is started again, which host is there), then the processes. The driver's side: `cluster`,
`service` (the loop), `cast` and `housing` (what is done with actors and hosts), `fleet` with
`agent_processes`, `lifelines`, `switchboard`, `tables`, `permissions` and `ways_needed` (its
agents, how they start and end, the sockets to them, what is told to whom, who listens), `launch`
and `launchers` (how an agent is started, or none at all), `chronicle` (events), `reception` with
`desk`, `log_book` and `traffic` (who asks, and what is reported). A host's agent: `agent` and
`agent_loop` with `driver_line` and `actors_line` (`control_socket`), `orders`, `starter`,
`preload`, `running`, `vitals` and `progress` (who gets on), `agent_news`, `log_forwarder`,
`host_logs`, `relay` (weights cross to a host once). An actor's process: `child` with `control`,
`door` (what it needs of the wire) and `turns` (whose threads use it). One question each: `strays`,
`causes`, `inventory`, `run_directory`.
"""
