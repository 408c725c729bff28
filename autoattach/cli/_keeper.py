"""What a hub is: a process that leads a session, or does its best to, and does nothing else."""

from __future__ import annotations

import os
import time
from typing import Any, Optional

from autoattach import _records
from autoattach._attach import gather
from autoattach._door import Door
from autoattach._errors import AttachError
from autoattach._leader import listen
from autoattach._link import Link
from autoattach._loading import Loader, current
from autoattach._member import Follower
from autoattach._network import spell
from autoattach._network_errors import HubTaken, PortTaken
from autoattach._notices import say
from autoattach._plan import Lead, Skip, plan
from autoattach._process import Process
from autoattach._records import HUB, Record
from autoattach._session import Session
from autoattach._settings import Settings

PATIENCE = 3.0  # seconds that a taken port is tried again: the adapter of a hub that was killed may be letting go of it
YIELDS = 0.5  # seconds within which a leader that has been asked to has left the port
OF_DEBUGPY = ("vscode", "pycharm", "debugpy")


class Keeper(Follower):
    """A hub, as leader or as member: it takes the port as soon as that is free, and leaves it to nobody."""

    role = HUB
    gives_way = False

    def _find(self, lost: Any) -> Any:
        if lost is not None:
            lost.close()
        until = time.monotonic() + YIELDS
        while time.monotonic() < until:
            try:
                door = Door.open(self.session.host, (self.session.port, self.session.port), self.session.id)
            except AttachError:
                time.sleep(0.005)
                continue
            self.session = self.session.replace(pid=os.getpid(), live=False)
            _records.write(self.session, os.getpid(), role=HUB)
            say(f"leads the session at {spell(*door.address)} now")
            return door
        try:
            return Link.open(self.session, os.getpid(), HUB)
        except AttachError:
            return None


class Hub:
    """This process as a hub."""

    def __init__(self, settings: Settings, process: Process) -> None:
        """Raises `AttachError` where this Python cannot have one."""
        if settings.ide not in (None, *OF_DEBUGPY):
            raise AttachError(f"a hub is for debugpy, and not for {settings.ide}", "leave out DEBUGGER_IDE")
        for_pycharm = settings.ide == "pycharm"
        settings = settings.replace(on=True, ide="debugpy", mode="listen")
        answer = plan(settings, process, gather(process), None)
        if not isinstance(answer, Lead):
            assert isinstance(answer, Skip)
            raise answer.error or AttachError(answer.reason)
        self._lead: Lead = answer.replace(ide="pycharm" if for_pycharm else answer.ide, why="")
        # Its own children, which are debugpy's adapter and the command, have an environment of their own.
        self._settings = settings.replace(subprocess=False)
        self._process = process.replace(debugger="")

    def open(self) -> None:
        """Lead, and hold as long as the settings say; or join the session that has the port, if it is this user's.

        Raises `HubTaken`, and `AttachError` where neither can be.
        """
        try:
            try:
                listen(self._lead, self._settings, self._process, 0.0, Keeper)
            except PortTaken as error:
                if error.port is None:
                    raise
                hub = find(error.port)
                if hub is not None and hub.pid != os.getpid():
                    raise HubTaken(
                        f"pid {hub.pid} is the hub at {spell(*hub.session.address)} already",
                        f"autoattach hub --stop --port {error.port} ends it",
                    ) from None
                session = _records.find(error.port)
                if session is None:
                    listen(self._lead, self._settings, self._process, PATIENCE, Keeper)
                elif session.debugger != "debugpy":
                    raise
                else:
                    self._join(session)
        except PortTaken as error:
            raise PortTaken(error.what, "end that program, or give the hub another port: --port", error.port) from None

    def _join(self, session: Session) -> None:
        """Become a member of a session, to which the hub before has belonged; and its leader as soon as can be."""
        pid = os.getpid()
        link = Link.open(session, pid, HUB)
        loader = Loader(session.debugger, self._settings, self._process)
        where = spell(*session.address)
        say(f"the session of pid {session.pid} is at {where}: its hub from now on, its leader when it leaves the port")
        loader.tell_children(session)
        _records.write(session, pid, role=HUB)
        Keeper(loader, session).watch(link)

    @property
    def session(self) -> Session:
        """The session."""
        loader = current()
        assert loader is not None
        assert loader.session is not None
        return loader.session

    def check(self) -> None:
        """To be called now and then: when debugpy's adapter was killed, or the debugger broke, begin anew."""
        loader = current()
        if loader is None or loader.is_attached():
            return
        session = self.session
        loader.detach()
        self._lead = self._lead.replace(again=session, ports=(session.port, session.port), wait=0.0)
        try:
            self.open()
        except AttachError as error:
            say(f"{error}; trying again")


def find(port: Optional[int] = None) -> Optional[Record]:
    """The record of this user's hub on a port, or on any."""
    for record in _records.read():
        if record.role == HUB and port in (None, record.session.port):
            return record
    return None
