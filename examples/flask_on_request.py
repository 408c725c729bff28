"""Flask: only requests that ask for a debugger have one, with VS Code and with PyCharm.

    START_DEBUGGER=request flask --app flask_on_request run

    curl 'http://127.0.0.1:5000/?START_DEBUGGER=1'      waits until you press F5 (PyCharm: it listens), and stops below
    curl -H 'X-Start-Debugger: 1' http://127.0.0.1:5000/     stops as well
    curl http://127.0.0.1:5000/                         ends the session

With DEBUGGER_REQUEST_TOKEN set, the request also has to carry that in a header X-Debugger-Token.
"""

from flask import Flask

from autoattach.wsgi import OnRequest

app = Flask(__name__)
app.wsgi_app = OnRequest(app.wsgi_app)


@app.route("/")
def hello():
    text = "Hello!"
    return text  # breakpoint
