"""Processes with an RL job: where the two wings meet.

Reading order: `settings` (what every role is told), `torch_setup`, `rollout_worker`,
`gradient_worker` (experience), `replay_shard`, `batch` (fragments side by side), `learner` (what
all learners share), `stream_learner`, `queue_learner`, `round_learner`, `synchronous_learner`,
`replay_learner`, `parameter_server`.

A role knows its links by name: `samples` (experience), `weights` (the newest version), `gradients`,
`replay` and `priorities`, `inserts` (what shards have taken in), `metrics` (reports to the driver).
"""
