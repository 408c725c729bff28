"""Connecting to where the IDE listens."""

from __future__ import annotations

import os
import time

from autoattach import _records, _slot, debuggers
from autoattach._connect import connect, connect_patiently
from autoattach._errors import AttachError
from autoattach._handover import ToChild, ToForks, only_in, receive
from autoattach._leader import CTRL_C, IDES, how_long
from autoattach._loading import Loader
from autoattach._network import ATTEMPT, greets_as_dap, greets_as_pydevd, peek, spell
from autoattach._network_errors import AddressError, PeerError, SlotTaken
from autoattach._notices import say, say_once
from autoattach._redial import Redial
from autoattach._roles import OWN, role, supervises
from autoattach._session import SESSION, Session, new_id
from autoattach._signals import EndingSignals
from autoattach._slot import Slot
from autoattach._watcher import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from autoattach._plan import Lead
    from autoattach._process import Process
    from autoattach._settings import Settings
    from autoattach._watcher import Place

ONE_TRY = 4.5  # seconds that everything may take when the program is not to be held
# The same for a worker or a reloader's child, once PyCharm has greeted: many of them start together, on busy machines
HANDSHAKE = 15.0


def call(lead: Lead, settings: Settings, process: Process) -> None:
    """Connect; while the program may be held, again and again. Raises `AttachError`; then nothing is left of it."""
    caller = Caller(lead, settings, process)
    if caller.role.kind == "heir":
        caller.ask_for_slot()
    else:
        caller.call()


class Caller:
    """A process that connects to the IDE, for itself or for the one that runs the user's code."""

    def __init__(self, lead: Lead, settings: Settings, process: Process) -> None:
        self.lead = lead
        self.role = lead.role or OWN
        self.settings = settings
        self.process = process
        self.who = IDES[lead.ide, "connect"]
        self._address = lead.host, lead.ports[0]
        self.where = spell(*self._address)
        self.one_slot = lead.debugger == "pydevd-pycharm"
        self.greeting = greets_as_pydevd if self.one_slot else greets_as_dap
        self.loader = Loader(lead.debugger, settings, process)
        self.family: Session | None = None
        """The tree's session, in a process that the slot was left to."""
        self._left = False
        mode = "leave" if self.role.kind == "starts" else "connect"
        self.session = Session(
            id=new_id(),
            pid=process.pid,
            debugger=lead.debugger,
            mode=mode,
            host=lead.host,
            port=lead.ports[0],
            live=True,
        )

    def call(self) -> None:
        """Hold the program, if that is wanted, until the IDE is there; load the debugger, or leave that to a worker."""
        lead = self.lead
        until = time.monotonic() + (lead.wait or ONE_TRY)
        forks = to_child = slot = None
        if self.role.kind == "forks" and hasattr(os, "register_at_fork"):
            forks = ToForks(lead, self.process, self.inherit)
        elif self.role.kind == "starts":
            to_child = ToChild.open(self.process.pid)
            if to_child is None:  # then the child connects for itself, and is not held
                self._record(role=_records.LEAVES)
                return self.loader.tell_children(self.session)
        try:
            if self.one_slot:
                slot = self._take()
            self.loader.tell_children(self.session)
            self._record(held=lead.wait > 0)
            with EndingSignals(self.process.started):
                try:
                    sock = self._connect_patiently(until) if lead.wait else self._connect(until)
                except (AddressError, PeerError) as error:
                    if not lead.redials:
                        raise
                    return self._call_on(error, forks, to_child)
                if forks is None and (to_child is None or slot is None):
                    if self.process.started and not self.loader.in_main_thread():  # no program waits for it
                        until = max(until, time.monotonic() + HANDSHAKE)
                    return self._load(sock, until)
            self._record(role=_records.LEAVES)
            if self.settings.verbose:
                say(f"leaves PyCharm's slot to {self.role.name}")
            if forks is not None:
                debuggers.load(lead.debugger).prepare(self.loader.ledger)
                forks.start(slot, sock)
            elif to_child is not None and slot is not None:
                to_child.start(slot, sock, only_in("this one", self.role.one) if self.role.one else "")
        except BaseException as error:
            self._undo()
            if to_child is not None:
                to_child.cancel()
            if forks is not None and isinstance(error, SlotTaken):  # until the next worker, it may be free
                forks.start(None, None)
                self._record(role=_records.WAITS)
            raise

    def _call_on(self, error: AttachError, forks: ToForks | None, to_child: ToChild | None) -> None:
        """Nobody is there: who runs the user's code, be it this process, calls on behind the running program."""
        self._undo()
        error.outcome += ", and trying again in the background"
        own = forks is None and to_child is None
        if own:
            self._redial()
            if self.process.started:
                raise error
        say(f"{error}; {error.outcome}")
        self.session = self.session.replace(live=False)
        self.loader.tell_children(self.session)
        if forks is not None:
            forks.start(None, None, calls_on=True)
        if to_child is not None:  # a child that finds nobody to ask connects for itself
            to_child.cancel()
        if not own:
            self._record(role=_records.LEAVES)

    def _redial(self) -> None:
        """Call on behind the running program."""
        place = Redial(*self._address, self.process, self._leaves)
        self.loader.dialer = Watcher(place, self.greeting, self._answer, self._find, self._forked)
        self.loader.dialer.start()

    def _answer(self, place: Place, arrived: list[_socket.socket]) -> None:
        """In the thread: PyCharm is there."""

        def load() -> None:
            session = self.session.replace(pid=os.getpid())
            self.loader.tell_children(session)
            try:
                attached = self.loader.load(session, False, time.monotonic() + HANDSHAKE, visitors=arrived)
                if not attached:
                    raise PeerError(
                        f"{self.where} did not finish its handshake", f"check that {self.who} listens there"
                    )
            except BaseException:
                self._undo()
                raise
            if self.family is None:
                say(f"{self.who} has come at {self.where}")
            else:
                self._say_who_has_it(self.family, self._note(self.family))

        self.loader.load_behind(load, arrived)

    def _find(self, lost: Place | None) -> Place | None:
        if lost is not None:  # else its connection, whose number may be a file of the program's by now, would close it
            lost.close()
        return Redial(*self._address, self.loader.process, self._leaves)

    def _leaves(self) -> bool:
        """Asked in the thread: whether a child calls in place of this process, for it runs the user's code. Then the
        next does, too, and this process never again."""
        if self.family is not None or self._left:
            return self._left
        if self._of_family(self.session.id, _records.WAITS, _records.HAS):
            self._left = True
        elif self.settings.subprocess and supervises(self.loader.main_frame()):
            # The child that is there has been told to stay out. The next one, after an edit, is not.
            self._left = True
            self.loader.tell_children(self.session.replace(mode="leave"))
        return self._left

    def _of_family(self, family: str, *roles: str) -> bool:
        """Whether other processes of a tree do this with the slot."""
        found = (record for record in _records.read() if record.session.id == family and record.role in roles)
        return any(record.pid != os.getpid() for record in found)

    def _note(self, family: Session) -> str:
        """What is to be said of several workers, which have all called; the tree's first process knows. With PyCharm
        there from the start it has been said."""
        if family.live or not self._of_family(family.id, _records.WAITS):
            return ""
        commands = [tuple(record.command.split()) for record in _records.read() if record.pid == family.pid]
        parts = [role(command, self.settings.hints) for command in commands]
        return "".join(only_in("this one", part.one) for part in parts if part.one)

    def _forked(self) -> bool:
        """A fork of a process that waits for its moment does so, too; of one that was to attach at its start PyCharm's
        one slot is for that."""
        if not (self.settings.words and self.settings.subprocess):
            return False
        self.loader.forked()
        self.process = self.loader.process = self.process.replace(pid=os.getpid())
        return True

    def ask_for_slot(self) -> None:
        """The slot was left to this process, or to another like it. Nobody waits here: the tree's first process has.

        Raises `SlotTaken` where it is another.
        """
        parent = self.lead.again
        assert parent is not None
        self.loader.tell_children(parent.replace(mode="connect"))
        left = receive(parent) if parent.mode == "leave" else None
        if left is None:
            free = Slot(self.lead.host, self.lead.ports[0])
            taken = not free.take(self.process)
            if taken and (parent.live or not self.lead.redials):
                raise free.taken(self.where)
            self.inherit(None, None if taken else free)  # taken: one of the tree calls at this moment
            return
        sock, number, note = left
        slot = Slot(self.lead.host, self.lead.ports[0])
        if number >= 0:
            slot.adopt(number, self.process)
        self.inherit(sock, slot, note)

    def inherit(self, sock: _socket.socket | None, slot: Slot | None, note: str = "") -> None:
        """This process has the slot: load the debugger, with the connection that was made for it, or with one try.
        Where nobody is there, or with no slot, because another calls just now, call on behind the running program."""
        self.family = family = self.lead.again or self.session
        forked = self.process.pid != os.getpid()
        try:
            if forked:
                self.process = self.process.replace(pid=os.getpid())
                self.loader = Loader(self.lead.debugger, self.settings, self.process)
                if slot is not None and slot.number >= 0:
                    slot.adopt(slot.number, self.process)
            if slot is None:
                return self._go_without(family, self.lead.redials)
            self.session = self.session.replace(pid=self.process.pid, mode="connect")
            self.loader.tell_children(self.session)
            with EndingSignals(self.process.started, forked):
                if sock is not None and not self.greeting(peek(sock) or b""):
                    sock.close()  # it has gone meanwhile
                    sock = None
                sock = sock or self._connect(time.monotonic() + ATTEMPT)
                self._load(sock, time.monotonic() + HANDSHAKE)
            self._say_who_has_it(family, note or self._note(family))
        except BaseException as error:
            # That PyCharm has gone was said where it went. Where it has not, but does not answer, is worth a line.
            if not isinstance(error, AddressError) or self.settings.verbose:
                say(f"{error or type(error).__name__}; running on without a debugger")
            self._go_without(family, self.lead.redials and isinstance(error, (AddressError, PeerError)))

    def _go_without(self, family: Session, calls_on: bool) -> None:
        """Let the program run, and maybe call on behind it. Its children stay out."""
        self._undo()
        os.environ[SESSION] = self.session.replace(mode="failed").to_text()
        if calls_on:
            _records.write(family.replace(mode="connect", live=False), self.process.pid, role=_records.WAITS)
            self._redial()

    def _say_who_has_it(self, family: Session, note: str) -> None:
        _records.write(family.replace(mode="connect", live=True), os.getpid(), role=_records.HAS)
        say(f"{self.role.name} has PyCharm's slot{f': {note}' if note else ''}")

    def _take(self) -> Slot:
        slot = Slot(self.lead.host, self.lead.ports[0])
        if not slot.take(self.process):
            raise slot.taken(self.where)
        return slot

    def _connect(self, until: float) -> _socket.socket:
        place = self.lead.host, self.lead.ports[0]
        return connect(*place, min(until, time.monotonic() + ATTEMPT), self.greeting, self.who, lambda error: None)

    def _connect_patiently(self, until: float) -> _socket.socket:
        lead = self.lead
        try:
            return connect_patiently(lead.host, lead.ports[0], until, self.greeting, self.who, self._report)
        except AttachError as error:
            raise type(error)(f"gave up after {lead.wait:g} s: {error.what}", error.advice) from None

    def _report(self, error: AttachError) -> None:
        """An attempt has failed, or nobody speaks yet, and there will be more."""
        choice = self.lead.debugger + self.lead.why
        say_once(f"waiting {how_long(self.lead.wait)} for {self.who} ({choice}): {error.what}; {CTRL_C}")

    def _load(self, sock: _socket.socket, until: float) -> None:
        try:
            attached = self.loader.load(self.session, True, until, visitors=[sock])
        finally:
            sock.close()
        if not attached:
            raise PeerError(f"{self.where} did not finish its handshake", f"check that {self.who} listens there")

    def _record(self, held: bool = False, role: str = "") -> None:
        """There is no IDE yet."""
        _records.write(self.session.replace(live=False), self.process.pid, held, role)

    def _undo(self) -> None:
        _records.erase()
        self.loader.ledger.undo()
        self.loader.told.undo()
        _slot.release()
