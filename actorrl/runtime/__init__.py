"""Actors and the machines they live on. Knows no reward.

Reading order: `actor` (what a user writes), `refs` and `calls` (talking to one), `program` (actors
and the links between them, as a value), `links` (both ends of a link), `mailbox` (the one loop
of an actor), `placement` and `supervisor` (pure: who goes where, who is started again), `child`,
`agent` and `cluster` (the processes), `launchers` (how an agent is started, or none at all).
"""
