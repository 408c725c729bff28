"""What starts programs on a machine: watchers, supervisors, shell scripts, cron."""

from __future__ import annotations

from launchers.launcher import RUNS, Launcher, cron_can_be_played, leaves_a_file, visit

SERVER = """
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            n = 21
            body = str(n * 2).encode()  # breakpoint
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    def main():
        HTTPServer(("127.0.0.1", {http}), Handler).serve_forever()

    if __name__ == "__main__":
        main()
"""
WATCH = """
    from watchfiles import PythonFilter, run_process

    if __name__ == "__main__":
        run_process(".", target="server.main", watch_filter=PythonFilter())
"""
SUPERVISOR = """
    [supervisord]
    nodaemon = true
    user = root
    pidfile = {folder}/supervisord.pid
    logfile = {folder}/supervisord.log
    childlogdir = {folder}

    [program:server]
    command = {python} server.py
    environment = START_DEBUGGER="1",DEBUGGER_PORT="{DEBUGGER_PORT}",DEBUGGER_IDE="{DEBUGGER_IDE}",DEBUGGER_WAIT="{DEBUGGER_WAIT}"
    stderr_logfile = {folder}/server.log
"""
ENTRYPOINT = """
    #!/bin/bash
    set -e
    {python} migrate.py
    exec {python} server.py
"""
MIGRATE = """
    n = 21
    print("migrated", n)  # breakpoint
"""
# An @reboot job, so that nobody waits for the next full minute
CRONTAB = """
    @reboot cd {folder} && START_DEBUGGER=1 DEBUGGER_WAIT={DEBUGGER_WAIT} DEBUGGER_PORT={DEBUGGER_PORT} DEBUGGER_IDE={DEBUGGER_IDE} LAUNCHER_TEST={LAUNCHER_TEST} {python} job.py > job.log 2>&1
"""
JOB = """
    n = 21
    open("result.txt", "w").write(f"{n * 2}\\n")  # breakpoint
"""
# The real cron, in a mount namespace in which its folders are ours: nothing of this machine's cron is touched.
CRON = """
    #!/bin/sh
    set -e
    mount --make-rprivate /
    mount --bind spool /var/spool
    mount -t tmpfs tmpfs /run
    [ ! -d /var/run ] || [ -L /var/run ] || mount -t tmpfs tmpfs /var/run
    [ ! -d /etc/cron.d ] || mount -t tmpfs tmpfs /etc/cron.d
    [ ! -f /etc/crontab ] || mount --bind /dev/null /etc/crontab
    chown 0:0 spool/cron/crontabs/root
    chmod 600 spool/cron/crontabs/root
    exec cron -f -L 0
"""

LAUNCHERS = [
    Launcher(
        "watchfiles",
        {"server.py": SERVER},
        ["{bin}/watchfiles", "--filter", "python", "{python} server.py", "{folder}"],
        visit,
        needs=["watchfiles"],
        ptvsd=RUNS,
        edit="server.py",
        note="Without ``--filter python`` it also starts anew for what the program writes.",
    ),
    Launcher(
        "watchfiles.run_process",
        {"server.py": SERVER, "app.py": WATCH},
        ["{python}", "app.py"],
        visit,
        needs=["watchfiles"],
        ptvsd=RUNS,
        edit="server.py",
    ),
    Launcher(
        "supervisor",
        {"server.py": SERVER, "supervisord.conf": SUPERVISOR},
        ["{bin}/supervisord", "-c", "supervisord.conf"],
        visit,
        needs=["supervisor"],
        env_in_files=True,
        note="The variables stand in the program's ``environment=``.",
    ),
    Launcher(
        "entrypoint in bash",
        {"server.py": SERVER, "migrate.py": MIGRATE, "entrypoint.sh": ENTRYPOINT},
        ["{folder}/entrypoint.sh"],
        visit,
        programs=["bash"],
        earlier=1,
        note="One session after the other, on the same port: attach again for the second.",
    ),
    Launcher(
        "cron",
        {"job.py": JOB, "cron.sh": CRON, "spool/cron/crontabs/root": CRONTAB},
        ["unshare", "--mount", "{folder}/cron.sh"],
        leaves_a_file,
        programs=["cron", "unshare"],
        check=cron_can_be_played,
        later=False,
        note="The variables stand in the job's line.",
        shown="* * * * * cd /srv/app && START_DEBUGGER=1 DEBUGGER_WAIT=60 python job.py",
        env_in_files=True,
    ),
]
