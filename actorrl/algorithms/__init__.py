"""What is learned: one file per algorithm, in the same reading order.

Any algorithm: docstring, Config, policy, postprocess, update, program. `pg` is the template for
one's own; then `a2c`, `a3c`, `ppo`, `impala`, `appo` over `actor_critic`; `dqn` and `apex_dqn` over
`q_learning`, `ddpg`, `td3`, `apex_ddpg` and `sac`, all over `replay_config` (`sharded_replay`:
shards); `es`, `ars`, `bc`; `built` is of a policy with a loss of its own. `optimizer` steps all
that torch differentiates, `registry` has the names.

The settings: `config` (what all share) over `evaluation_settings`, `host_settings` and `fluent`
(how they are said), with `spellings` and `foreign_settings` (how RLlib says them), `schedules`,
`without_effect` (those that say nothing to an algorithm) and `batch_arithmetic` (what they come
to).

A run: `base` (Algorithm: build, train, save, restore, evaluate) over `acting` with `asked`,
`changing` and `mirror` (its policies, as a user asks and changes them), `teaching` with
`taught_rows` and `gradients` (a user's own batches) and `worker_set`. `setup` is what an
algorithm's program is told, `multi_agent` and `agents_tried` which policies there are,
`envs_measured` how many environments a worker has, `planning` where all of it goes. `run` is the
run once it is started: `reporting` and `bottleneck` (its rows), `run_record` with `described` (its
folder), `evaluating` and `playing` (episodes beside training, and on the driver), `far_hosts`.
Checkpoints: `naming` (classes as paths), `actor_states`, `restoring`, `resuming`,
`policy_checkpoint`.
"""
