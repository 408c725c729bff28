"""For ``START_DEBUGGER=1 watchfiles debug.main``: see README.rst."""

import subprocess
import sys


def main():
    subprocess.call([sys.executable, "app.py"])
