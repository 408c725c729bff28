"""Belonging to a session while the program runs: as its leader at the door, or as a member that is told."""

import os
import time

from autoattach import _channel, _records
from autoattach._door import Door
from autoattach._errors import AttachError
from autoattach._loading import Loader
from autoattach._network import ATTEMPT, greets_as_dap, spell
from autoattach._notices import say
from autoattach._process import in_uwsgi
from autoattach._watcher import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from autoattach._plan import Join
    from autoattach._process import Process
    from autoattach._session import Session
    from autoattach._settings import Settings
    from autoattach._watcher import Place

ANSWER = 5.0  # seconds that the answer to a link may take: the adapter gives it at once, on a machine that is not busy
HINT = 1.0  # the same where nobody was there when it was written: one may have come a moment ago
YIELDED = 1.0  # seconds that a hub, for which the leader has left the port, may take to have it
CLIENT = 10.0  # seconds that a child is held for the IDE to attach to it: one that knows no sub-sessions never does


def join(answer: "Join", settings: "Settings", process: "Process") -> None:
    """Become a member. Raises `SessionGone` where nobody is there any more; then nothing is left of it."""
    session = answer.session
    if session.mode == "connect":
        return follow(answer, settings, process)
    from autoattach._link import Link
    from autoattach._network_errors import SessionGone

    link = Link.open(session, process.pid)
    loader = Loader(session.debugger, settings, process)
    where = spell(session.host, session.port)
    if answer.stranger:
        say(f"joins the session of pid {session.pid} at {where}: who attaches there sees this process, too")
    elif settings.verbose:
        say(f"joins the session of pid {session.pid} at {where}")
    loader.tell_children(session)
    _records.write(session, process.pid)
    follower = Follower(loader, session)
    if session.live or answer.stranger:  # when that was written; asked, who has the port says whether it is
        from autoattach._signals import EndingSignals

        with EndingSignals(process.started):
            entrance = link.wait(time.monotonic() + (ANSWER if session.live else HINT))
            if entrance is not None:
                try:
                    follower.enter(entrance, held=True)
                except SessionGone:
                    loader.ledger.undo()
                    raise
                except AttachError as error:
                    loader.give_up(error)
                finally:
                    link.close()
                return
        if not link.is_ours():
            link.close()
            _records.erase()
            raise SessionGone(f"the session of pid {session.pid} has ended")
    follower.watch(link)


def follow(answer: "Join", settings: "Settings", process: "Process") -> None:
    """Connect to where the IDE of a session listens that its leader has connected to: no hold, and one try."""
    session = answer.session
    loader = Loader(session.debugger, settings, process)
    loader.tell_children(session)
    from autoattach._connect import connect  # here, for few connect

    try:
        sock = connect(
            session.host, session.port, time.monotonic() + ATTEMPT, greets_as_dap, "the IDE", lambda error: None
        )
    except AttachError:  # gone, or not there yet: the leader has said what there is to say
        return
    try:
        loader.load(session, True, time.monotonic() + CLIENT, visitors=[sock])
    except AttachError as error:
        loader.give_up(error)
    finally:
        sock.close()


class Follower:
    """A process of a session, with no debugger in it until an IDE comes."""

    role = ""  # of its record: what it is, as leader or as member
    gives_way = True  # to a hub that comes

    def __init__(self, loader: Loader, session: "Session") -> None:
        self.loader = loader
        self.session = session
        self._short = 0

    def watch(self, place: "Place") -> None:
        """Wait behind the running program: at the door, which this process then leads, or at the link."""
        if isinstance(place, Door):
            place.gives_way = self.gives_way
        self.loader.watcher = Watcher(
            place, greets_as_dap, self._serve, self._find_and_record, self._forked, lambda: _channel.settle(ended=True)
        )
        self.loader.watcher.start()
        if in_uwsgi():
            from autoattach import _uwsgi

            _uwsgi.follow()

    def lead(self, door: Door, visitors: "list[_socket.socket]", held: bool, until: float = 0.0) -> bool:
        """An IDE stands at the door. Raises `AttachError`."""
        sockets = [*visitors, *door.members]
        try:
            return self.loader.load(
                self.session, held, until, listener=door.socket, visitors=visitors, members=door.members
            )
        finally:
            for sock in sockets:
                sock.close()
            door.close()

    def enter(self, entrance: "tuple[str, int, int]", held: bool) -> bool:
        """The session has an IDE, and debuggees go in there. Raises `AttachError`: `SessionGone` where nobody is there
        any more."""
        self.session = self.session.replace(pid=entrance[2])
        return self.loader.load(self.session, held, time.monotonic() + CLIENT, entrance=entrance[:2])

    def _serve(self, place: "Place", arrived: "Any") -> "Place | None":
        if isinstance(place, Door):
            self.loader.load_behind(lambda: self.lead(place, arrived, held=False), [place, *arrived])
            return None

        def enter() -> None:
            try:
                self.enter(arrived, held=False)
            finally:
                place.close()  # until then the adapter awaits us

        # Nothing is called here when that is done: the debugger would take our bare thread for one of the program's.
        return self._find_and_record(None) if self.loader.load_behind(enter, [place]) else None

    def _find_and_record(self, lost: "Place | None") -> "Place | None":
        try:
            place = self._find(lost)
        except ImportError:  # the program has left for another root, where we are not
            place = None
        if place is None:
            _records.erase()
        elif not isinstance(place, Door):
            _records.write(self.session, os.getpid())
        return place

    def _find(self, lost: "Place | None") -> "Place | None":
        """A new place, when the one we had has gone: with whoever leads now, or at the door, if nobody does."""
        if lost is not None:
            lost.close()
            # Whoever has the port now does not know us, if it sends us away again and again.
            self._short = self._short + 1 if time.monotonic() - lost.opened < 1.0 and not lost.hub else 0
            if self._short > 2:
                return None
            if lost.hub:
                self.session = self.session.replace(pid=lost.hub, live=False)
        pid = os.getpid()
        if self.session.debugger == "ptvsd":
            return self._next_port(pid)
        from autoattach._link import Link

        for _ in range(20):  # on a busy machine who has bound the port may take its time to listen on it
            until = time.monotonic() + (YIELDED if lost is not None and lost.hub else 0.0)
            while True:
                try:
                    return Link.open(self.session, pid)
                except AttachError:
                    if time.monotonic() >= until:
                        break
                    time.sleep(0.02)
            lost = None
            try:
                door = Door.open(self.session.host, (self.session.port, self.session.port), self.session.id, patience=0)
            except AttachError:
                time.sleep(0.05)
                continue
            door.gives_way = self.gives_way
            self.session = self.session.replace(pid=pid, live=False)
            _records.write(self.session, pid)
            return door
        return None

    def _next_port(self, pid: int) -> "Door | None":
        """Nobody can join a session of ptvsd's: a forked child has a port of its own, out of a range."""
        ports = self.loader.settings.ports
        if ports is None or ports[1] <= self.session.port:
            return None
        try:
            door = Door.open(self.session.host, (self.session.port + 1, ports[1]))
        except AttachError:
            return None
        self.session = self.session.replace(pid=pid, port=door.address[1])
        _records.write(self.session, pid)
        say(f"VS Code can attach at {spell(*door.address)} at any time (ptvsd)")
        return door

    def _forked(self) -> bool:
        if not self.loader.settings.subprocess:
            return False
        self.loader.forked()
        self.loader.process = self.loader.process.replace(pid=os.getpid())
        self.loader.reachable()
        return True
