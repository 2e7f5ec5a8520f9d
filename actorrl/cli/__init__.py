"""The door: what a user types. One small file per command; heavy imports happen inside commands.

In reading order: main (the table of commands, errors to exit codes), failures, options and request
(from flags and files to settings), launch, training (the loop of `train()`), interrupts (Ctrl-C),
then the other commands by name.
"""
