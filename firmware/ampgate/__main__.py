"""``python -m ampgate``."""

import sys

from ampgate.cli import main

if __name__ == "__main__":
    sys.exit(main())
