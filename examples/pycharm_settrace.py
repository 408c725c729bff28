"""PyCharm, with pydevd-pycharm's own call in the code. Start PyCharm's debug server, then:

    START_DEBUGGER=1 python pycharm_settrace.py

It stops below. Where PyCharm is not there a line says what to do, and the program runs. Without the variable the call is
not made. Where autoattach attaches at the start of Python already, that is the session, and the call is not made either.
"""

import pydevd_pycharm

import autoattach

autoattach.attach_pycharm(lambda host, port: pydevd_pycharm.settrace(host, port=port, suspend=False))


def greet(name):
    text = f"Hello, {name}!"
    return text  # breakpoint


print(greet("world"))
