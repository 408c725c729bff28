"""The debugger's own call, made by decision of the code: here for an argument.

    python at_once.py vscode      waits until you press F5
    python at_once.py pycharm     PyCharm's debug server is to listen before
    python at_once.py             no debugger

`autoattach.attach(ide)` does this for either IDE, without a call of the debugger's; see worker.py.
"""

import sys

import autoattach


def listen(host, port):
    import debugpy

    debugpy.listen((host, port))


def connect(host, port):
    import pydevd_pycharm

    pydevd_pycharm.settrace(host, port=port, suspend=False)


if "vscode" in sys.argv:
    autoattach.attach_vscode(listen, call_immediately=True)
if "pycharm" in sys.argv:
    autoattach.attach_pycharm(connect, call_immediately=True)


def greet(name):
    text = f"Hello, {name}!"
    return text  # breakpoint


print(greet("world"))
