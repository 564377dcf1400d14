"""`make down`: forgets the local cloud and the stacks on it. What was built stays."""

import shutil

from lab import layout


def main() -> None:
    """Removes the state of the local cloud; its plug-ins run only while `pulumi` does."""
    for directory in (layout.STATE, layout.BACKEND):
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
