"""VS Code or PyCharm, by a variable alone. Nothing in here is for a debugger.

    START_DEBUGGER=1 python plain.py

With VS Code it waits until you press F5; with PyCharm its debug server is to listen before. Then it stops below.
"""


def greet(name):
    text = f"Hello, {name}!"
    return text  # breakpoint


print(greet("world"))
