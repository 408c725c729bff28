"""Tell the VS Code whose terminal this is where a session listens: it attaches with no click."""

from __future__ import annotations

import os

from autoattach._network import reachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autoattach._session import Session


def announce(session: Session, path: str | None) -> None:
    """Write the endpoint where VS Code looks for it. A folder that is gone or closed to us does no harm.

    Its Python Debugger extension watches for the file, reads it as debugpy's adapter writes it, attaches and removes it
    (https://github.com/microsoft/vscode-python-debugger, src/extension/noConfigDebugInit.ts).
    """
    if not path or session.debugger != "debugpy":
        return
    new = f"{path}.{session.pid}"
    try:
        with open(new, "w") as file:  # in one piece, for it is read as soon as it is there
            file.write(f'{{"client": {{"host": "{reachable(session.host)}", "port": {session.port}}}}}')
        os.replace(new, path)
    except OSError:
        pass
