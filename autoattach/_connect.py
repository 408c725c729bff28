"""Connecting to where an IDE listens, before any debugger."""

from __future__ import annotations

import _socket
import time

from autoattach._errors import AttachError
from autoattach._network import ATTEMPT, peek, ready, resolve, spell
from autoattach._network_errors import AddressError, PeerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from autoattach._network import Greeting

RETRY = 0.25  # seconds between two attempts
MUTE = 0.5  # seconds after which it is said that nobody speaks


def connect(
    host: str, port: int, until: float, greeting: Greeting, who: str, report: Callable[[AttachError], None]
) -> _socket.socket:
    """Connect to where an IDE listens, and wait for its first words. `until` as for `Door.wait()`.

    `report` is told when whoever is there says nothing for a while. Raises `AddressError` when nobody listens there,
    and `PeerError` when whoever does is no IDE or says nothing.
    """
    family, address = resolve(host, port)
    where = spell(host, port)
    sock = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        sock.settimeout(max(0.05, min(ATTEMPT, until - time.monotonic())))
        try:
            sock.connect(address)
        except _socket.timeout:
            raise AddressError(f"{where} does not answer", f"check DEBUGGER_HOST, and start {who} first") from None
        except OSError as error:
            raise AddressError(
                f"nobody listens on {where} ({error.strerror or error})", f"start {who}, or its port forward, first"
            ) from None
        sock.setblocking(False)
        mute = PeerError(
            f"{where} accepted the connection and says nothing",
            f"check that {who} listens there and serves nobody else",
        )
        impatient = time.monotonic() + MUTE
        while True:
            data = peek(sock)
            if data == b"":
                raise PeerError(
                    f"{where} accepted the connection and closed it, as a port forward with no IDE behind it does",
                    f"start {who} first",
                )
            verdict = greeting(data) if data else None
            if verdict:
                return sock
            if verdict is False:
                raise PeerError(
                    f"{where} speaks something else ({bytes(data or b'')[:16]!r})", f"point DEBUGGER_PORT at {who}"
                )
            now = time.monotonic()
            if now >= until:
                raise mute
            if now >= impatient:
                report(mute)
                impatient = until
            if data:
                time.sleep(0.02)
            else:
                ready([sock], None, min(until, impatient) - now)
    except BaseException:
        sock.close()
        raise


def connect_patiently(
    host: str, port: int, until: float, greeting: Greeting, who: str, report: Callable[[AttachError], None]
) -> _socket.socket:
    """connect(), tried again and again until `until`. The last failure is raised; `report` is told of each."""
    while True:
        try:
            return connect(host, port, until, greeting, who, report)
        except AttachError as error:
            if time.monotonic() + RETRY >= until:
                raise
            report(error)
        time.sleep(RETRY)
