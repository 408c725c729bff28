"""What has to be done before the server starts."""

import sys

version = int(sys.argv[1]) if sys.argv[1:] else 7
print("migrated to version", version, flush=True)  # breakpoint
