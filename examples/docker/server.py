"""A small server as it runs in a container, or under systemd or supervisor: it ends when it is sent SIGTERM."""

import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            return self.answer("ok\n")
        n = 21
        self.answer(f"{n * 2}\n")  # breakpoint

    def answer(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    with ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler) as server:
        # Without this it would, as process 1, ignore the signal. No sys.exit() in a signal's handler: where that
        # interrupts the debugger at its work, the debugger swallows the exception.
        signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=server.shutdown).start())
        server.serve_forever()
