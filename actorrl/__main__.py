"""`python -m actorrl` is the command `actorrl`."""

from actorrl.cli.main import main

if __name__ == "__main__":
    main()
