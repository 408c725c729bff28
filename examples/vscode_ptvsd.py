"""VS Code, with ptvsd's own call in the code (Python 3.8 to 3.12).

    START_DEBUGGER=1 python vscode_ptvsd.py

It waits until you press F5, and stops below. Without the variable the call is not made. Where autoattach attaches at the
start of Python already, that is the session, and the call is not made either.
"""

import ptvsd

import autoattach

autoattach.attach_vscode(lambda host, port: ptvsd.enable_attach(address=(host, port), redirect_output=True))


def greet(name):
    text = f"Hello, {name}!"
    return text  # breakpoint


print(greet("world"))
