# Get weights of the local policy
agent.local_evaluator.policy_map["default"].get_weights()

# Same as above
agent.local_evaluator.for_policy(lambda p: p.get_weights())

# Get list of weights of each evaluator, including remote replicas
agent.optimizer.foreach_evaluator(
    lambda ev: ev.for_policy(lambda p: p.get_weights()))

# Same as above
agent.optimizer.foreach_evaluator_with_index(
    lambda ev, i: ev.for_policy(lambda p: p.get_weights()))
