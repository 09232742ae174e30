"""``python -m boxwright`` and the console script."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; return its exit code."""
    from boxwright.cli.startup import hurry, leave, occupy

    occupy()
    hurry()
    try:
        from boxwright.cli.main import main as run

        return leave(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before the command line could take it
        return leave(130)


if __name__ == "__main__":
    sys.exit(main())
