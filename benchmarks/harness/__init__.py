"""How a question is measured: `pairing` (A B A B ...), `usage` (CPU and memory of a process tree),
`commands` (windows over a running command), `launching` (actorrl's own), `phases`, `machine`,
`report`, `budgets`."""
