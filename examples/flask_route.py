"""Flask and PyCharm: attached in the body of a route, by the debugger's own call. Start PyCharm's debug server, then:

    flask --app flask_route run

    curl 'http://127.0.0.1:5000/?START_DEBUGGER=1'      stops below

Where PyCharm is not there a line says what to do, and the request is answered. Attached once the server stays so, and
other requests stop as well; flask_on_request.py also detaches, for every route and either IDE.
"""

import pydevd_pycharm
from flask import Flask, request

import autoattach

app = Flask(__name__)


def attach_debugger():
    if request.args.get("START_DEBUGGER"):
        autoattach.attach_pycharm(
            lambda host, port: pydevd_pycharm.settrace(host, port=port, suspend=False), call_immediately=True
        )


@app.route("/")
def hello():
    attach_debugger()
    text = "Hello!"
    return text  # breakpoint
