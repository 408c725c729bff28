"""What the network says: whether a port can be listened on, and who answers where an IDE is to be connected to."""

from __future__ import annotations

import time

from autoattach._connect import connect
from autoattach._door import Door
from autoattach._errors import AttachError
from autoattach._network import greets_as_dap, greets_as_pydevd, spell
from autoattach._slot import Slot
from autoattach.cli._findings import INFO, OK, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autoattach._settings import Ports

ANSWER = 3.0  # seconds that an IDE is given to say its first word
GOODBYE = 1.0  # seconds for the rest of PyCharm's greeting
VERSION, RUN = b"501", b"101"  # of pydevd's commands
SEEN = "PyCharm's console shows this look as a program that came and went"


def port(host: str, ports: Ports, patience: float) -> Finding:
    """Listen, as start-up does, and leave at once. Raises what start-up would: `PortTaken`, `AddressError`."""
    door = Door.open(host, ports, patience=patience)
    number = door.address[1]
    door.close()
    if not ports[0]:
        return Finding("port", OK, "any free port; the program says which it took")
    of_range = f", the first free one of {ports[0]}-{ports[1]}" if ports[0] != ports[1] else ""
    return Finding("port", OK, f"{spell(host, number)} is free{of_range}")


def ide(host: str, port: int, debugger: str, who: str, release: str) -> list[Finding]:
    """Connect to where the IDE listens, and look whether it greets. Raises what start-up would, `AttachError`.

    PyCharm is answered: one whose greeting is cut off may stop listening.
    """
    where = spell(host, port)
    if debugger != "pydevd-pycharm":
        sock = connect(host, port, time.monotonic() + ANSWER, greets_as_dap, who, _nothing)
        sock.close()
        return [Finding("ide", OK, f"{who} answers at {where}")]
    slot = Slot(host, port)
    if slot.is_taken():
        raise slot.taken(where)
    sock = connect(host, port, time.monotonic() + ANSWER, greets_as_pydevd, who, _nothing)
    try:
        sock.settimeout(GOODBYE)
        heard = b""
        until = time.monotonic() + GOODBYE
        answered = False
        while time.monotonic() < until:
            data = sock.recv(4096)
            if not data:
                break
            heard += data
            lines = heard.split(b"\n")[:-1]
            for line in lines:
                command, _, rest = line.partition(b"\t")
                if command == VERSION and not answered:
                    answered = True
                    ours = release or "@@BUILD_NUMBER@@"  # which stands for the right one
                    sock.send(b"\t".join([VERSION, rest.partition(b"\t")[0], ours.encode()]) + b"\n")
            if any(line.partition(b"\t")[0] == RUN for line in lines):
                break
    except OSError:  # it was quicker, or says no more
        pass
    finally:
        sock.close()
    return [Finding("ide", OK, f"{who} answers at {where}"), Finding("ide", INFO, SEEN)]


def _nothing(error: AttachError) -> None:
    """Nobody is told of each attempt."""
