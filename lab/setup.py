"""`make setup`: the engine, the plug-ins' folders and `.lab/env`. Seconds when all is there."""

from lab import engine


def main() -> None:
    """Prepares everything that `make up` and `make test` need."""
    engine.prepare()
    engine.write_environment()


if __name__ == "__main__":
    main()
