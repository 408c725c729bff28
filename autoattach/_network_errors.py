"""What can go wrong with whoever is at the other end; each error says what to type next.

Apart from `_errors`, for a process that only waits for its moment has no network: each class costs a start 100 000
instructions.
"""

from autoattach._errors import AttachError


class AddressError(AttachError):
    """The address cannot be listened on or connected to."""


class PortTaken(AddressError):
    """Somebody else listens on the port; `port` is None where it was one of a range."""

    def __init__(self, what: str, advice: str = "", port: "int | None" = None) -> None:
        super().__init__(what, advice)
        self.port = port


class HubTaken(AttachError):
    """This user has a hub on the port already."""


class PeerError(AttachError):
    """Whoever is at the other end is not an IDE, or left, or says nothing."""


class SessionGone(AttachError):
    """Nobody of the session is there any more."""


class SlotTaken(AttachError):
    """Another process of this user has the one slot of PyCharm's debug server."""
