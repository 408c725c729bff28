"""``python -m autoattach``."""

import sys

from autoattach.cli import main

if __name__ == "__main__":
    sys.exit(main())
