#!/bin/sh
# What the container runs: the migrations, then the server in this shell's place, which makes it process 1: it gets the
# signal that `docker stop` sends, and its exit status is the container's.
set -e

# As process 1 a shell ignores SIGTERM until it has a trap, and runs that only between commands, or in `wait`.
trap 'kill "$!" || :; wait "$!" || :; exit 143' INT TERM

# Not debugged: each Python program has a session of its own, and is held for DEBUGGER_WAIT of its own. Without the
# START_DEBUGGER= they are: attach to the migrations, and once they have ended, attach again.
START_DEBUGGER='' python migrate.py &
wait "$!"
trap - INT TERM

exec "$@"
