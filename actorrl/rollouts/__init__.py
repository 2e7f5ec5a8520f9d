"""From environments to rows: stepping, episodes, and what is computed before a learner sees rows.

Reading order: `collector.py` (fragments) with `recording.py` (their columns), `multi_agent.py` with
`lanes.py`, `harvest.py` and `policy_mapping.py` (of several agents), `complete_episodes.py`
(fragments of whole episodes), `population.py` (many variants of a policy), `episodes.py` (returns
and their window), `evaluation.py` (playing); what is computed: `advantages.py` (GAE),
`postprocess.py` (n-step rows), `whole_episodes.py` (returns). The user's code: `callbacks.py`,
`watching.py` (of episodes), `pieces.py` (of their rows).
"""
