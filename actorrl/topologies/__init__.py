"""Who talks to whom: one file per flow, with its flow-control numbers at the top. No mathematics.

local_replay         DQN, SAC ..  workers fill the learner's buffer in rounds (DDPG and TD3, too)
synchronous          A2C          the learner asks all workers and waits for all
async_gradients      A3C          workers send gradients to a parameter server
sample_queue         IMPALA       workers stream fragments to the learner
distributed_replay   Ape-X        workers fill shards, the learner asks them for batches
evolution            ES, ARS      the learner hands out seeds, workers answer with returns
offline              BC           the learner reads a dataset, there are no workers

`learners` puts several in the place of one; `optimizers` has the flows by RLlib's names, for
another library's evaluators.
"""
