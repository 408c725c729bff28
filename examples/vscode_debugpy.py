"""VS Code, with debugpy's own call in the code.

    START_DEBUGGER=1 python vscode_debugpy.py

It waits until you press F5, and stops below. Without the variable the call is not made. Where autoattach has
attached at the start of Python already, that is the session, and the call is not made either.
"""

import debugpy

import autoattach

autoattach.attach_vscode(lambda host, port: debugpy.listen((host, port)))


def greet(name):
    text = f"Hello, {name}!"
    return text  # breakpoint


print(greet("world"))
