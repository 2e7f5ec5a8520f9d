"""actorrl: reinforcement learning from actors, without Ray."""
