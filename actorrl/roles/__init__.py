"""Processes with an RL job: where the two wings meet.

Reading order: `settings` (what every role is told), `torch_setup`, `phases` (where the CPU goes),
`rollout_worker`, `gradient_worker`, `evolution_worker` (experience) with `awaited_weights`,
`replay_rows`, `replay_shard`, `batch` (fragments side by side), `learner` (what all learners share)
with `iteration` (what it is asked for and has done), `published_weights` and `divergence`; at the
end of a stream: `stream_learner`, `queue_learner`, `parameter_server`; in rounds: `round_learner`,
`synchronous_learner`, `local_replay_learner` (frames on a GPU: `device_frames`),
`evolution_learner`; `replay_learner`, `offline_learner`; `stage` (where episodes are played) and
`evaluator`. Several learners: `partners` (the lead's side), `learner_partner`, `learner_group`,
`shares`. Around an update: `several_policies`, `shown_update` (callbacks), `compiling`.
`worker_view` is a worker as users' functions see it, `policy_evaluator` another library's learner
in our roles.

A role knows its links by name: `samples` (experience), `weights` (the newest version), `gradients`,
`replay` and `priorities`, `inserts` (what shards have taken in), `metrics` (reports to the driver).
"""
