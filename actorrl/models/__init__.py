"""Networks: from batches of observations to numbers; they know no rewards and no workers.

Reading order: model_config.py (settings), networks.py (bodies), recurrent.py (LSTM), catalog.py
(settings and observation space -> body), actor_critic.py, value_head.py, q_network.py and noisy.py
(heads), distributions.py and gaussian.py (mathematics of actions), action_layout.py (how actions
are stored), action_distribution.py and action_families.py (what losses use, chosen by the space),
masks.py, mixed_body.py (images among other observations), continuous.py (actors and critics),
precision.py (bfloat16), input_filter.py (statistics of observations), frames.py (what a fragment
shows, on the device), flat_parameters.py (all weights as one vector), group.py (who learns them
together), numpy_forward.py (small networks without torch's per-call cost). Users' own: registry.py
(names), torch_model.py and torch_networks.py (RLlib's bases), custom.py (how they stand in a
policy).
"""
