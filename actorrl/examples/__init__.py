"""Packaged examples: tuned experiments (`actorrl launch -f NAME`), and small programs to copy."""
