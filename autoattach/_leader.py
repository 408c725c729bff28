"""Listening for the IDE: a session that this process leads, until it ends."""

import os
import time

from autoattach import _records
from autoattach._door import Door
from autoattach._loading import Loader
from autoattach._member import Follower
from autoattach._network import greets_as_dap, spell
from autoattach._notices import say, say_once
from autoattach._plan import ONE_EACH
from autoattach._process import in_container
from autoattach._session import Session, new_id
from autoattach._settings import FOREVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autoattach._plan import Lead
    from autoattach._process import Process
    from autoattach._settings import Settings

IDES = {  # who is waited for
    ("vscode", "listen"): "VS Code",
    ("vscode", "connect"): 'VS Code\'s "listen" configuration',
    ("pycharm", "listen"): 'PyCharm\'s "Attach to DAP" (2025.3 and later)',
    ("pycharm", "connect"): "PyCharm's debug server",
}
CTRL_C = "Ctrl-C ends the program"
REACH = "; from outside this container: DEBUGGER_HOST=0.0.0.0 and a published port"


def listen(
    lead: "Lead", settings: "Settings", process: "Process", patience: float, follow: "type[Follower]" = Follower
) -> None:
    """Open the door, hold the program before it if that is wanted, and leave it open behind the program.

    Raises `AttachError`; then nothing is left of it.
    """
    until = time.monotonic() + lead.wait
    who, choice = IDES[lead.ide, "listen"], lead.debugger + lead.why
    loader = Loader(lead.debugger, settings, process)
    name = lead.again.id if lead.again else new_id()
    door = Door.open(lead.host, lead.ports, name, patience)
    try:
        where = spell(*door.address)
        host, port = door.address
        session = Session(
            id=name, pid=process.pid, debugger=lead.debugger, mode="listen", host=host, port=port, live=False
        )
        loopback = door.is_loopback()
        if not loopback:
            say(f"warning: whoever reaches {where} can run code as this user; DEBUGGER_HOST=127.0.0.1 keeps it here")
        loader.tell_children(session)
        _records.write(session, process.pid, held=lead.wait > 0, role=follow.role)
        if settings.endpoints:
            from autoattach._announce import announce

            announce(session, settings.endpoints)
        reach = REACH if loopback and in_container() else ""
        follower = follow(loader, session)
        if lead.debugger == "ptvsd" and settings.subprocess and hasattr(os, "register_at_fork"):
            os.register_at_fork(before=lambda: None if loader.over else tell_of_forks())
        if lead.wait > 0:
            from autoattach._signals import EndingSignals

            with EndingSignals(process.started):  # from before it is said how to end it
                say(f"waiting {how_long(lead.wait)} for {who} to attach at {where} ({choice}); {CTRL_C}{reach}")
                visitors = door.wait(until, greets_as_dap)
                if visitors:
                    if not follower.lead(door, visitors, held=True, until=until):
                        say(nobody(lead.wait, who, where))
                    return
            _records.update(held=False)
            say(nobody(lead.wait, who, where))
        else:
            say(f"{who} can attach at {where} at any time ({choice}){reach}")
        follower.watch(door)
    except BaseException:
        door.close()
        loader.ledger.undo()
        loader.told.undo()
        _records.erase(process.pid)
        raise


def tell_of_forks() -> None:
    """Once, before the first one."""
    say_once(f"ptvsd does not follow forks; {ONE_EACH}")


def how_long(seconds: float) -> str:
    """The hold, in words."""
    return "without limit" if seconds == FOREVER else f"up to {seconds:g} s"


def nobody(seconds: float, who: str, where: str) -> str:
    """What is said when a hold has run out."""
    return f"nobody attached in {seconds:g} s: running on; {who} can attach at {where} at any time"
