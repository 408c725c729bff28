"""What an interpreter says of itself: it is run by the one that is asked, with ``-c``, and prints JSON.

Whatever Python a command starts reads this: no syntax that an old one would stumble over.
"""

import sys

# As when the hook runs: the script's folder, with -c the current one, is not on the path yet.
if __name__ == "__main__" and sys.path[:1] == [""]:
    del sys.path[0]

import json
import os

DEBUGGERS = ("pydevd", "debugpy", "ptvsd", "pydevd_pycharm")
MODULES = ("autoattach", "debugpy", "ptvsd", "pydevd_pycharm", "pydevd", "coverage")
DISTRIBUTIONS = ("autoattach", "debugpy", "ptvsd", "pydevd-pycharm", "pydevd", "coverage")

if __name__ == "__main__":
    facts = json.dumps({"version": sys.version_info[:3], "executable": sys.executable, "prefix": sys.prefix})
    try:
        import importlib.metadata
        import importlib.util
        import site
    except ImportError:  # Python 3.7 or before
        pass
    else:
        folders = site.getsitepackages()
        if site.ENABLE_USER_SITE:
            folders.append(site.getusersitepackages())
        seen = folders[:0]
        for folder in folders:  # lib64 may be a link to lib
            if os.path.realpath(folder) not in map(os.path.realpath, seen):
                seen.append(folder)

        modules = {}
        for name in MODULES:
            try:
                spec = importlib.util.find_spec(name)
            except Exception:
                spec = None
            modules[name] = spec.origin if spec is not None else None
        releases = {}
        for name in DISTRIBUTIONS:
            try:
                releases[name] = importlib.metadata.version(name)
            except Exception:
                continue

        bundle = None
        try:
            from autoattach import _bundle  # its own, or the bundle's

            found = _bundle.find()
            if found is not None:
                here = _bundle.here()
                bundle = [found.folder, {name: getattr(here, name) for name in here.__slots__}]
        except Exception:  # none is there, or one that knows no bundles
            pass

        doors = []
        for entry in sys.path:
            path = os.path.join(entry or os.curdir, "sitecustomize.py")
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    doors.append((path, b"_autoattach_run" in file.read()))

        tracer = sys.gettrace()
        module = getattr(tracer, "__module__", None) or type(tracer).__module__
        facts = json.dumps(
            {
                "version": sys.version_info[:3],
                "executable": sys.executable,
                "prefix": sys.prefix,
                "folders": seen,  # in which it looks for .pth files
                "modules": modules,
                "releases": releases,
                "bundle": bundle,  # that it was given, and what matters of it there
                "doors": doors,  # each sitecustomize on the path, and whether it is ours
                "tracer": str(module).partition(".")[0] if tracer else "",
                "debugger": next((name for name in DEBUGGERS if name in sys.modules), ""),
                "ignores_environment": bool(sys.flags.ignore_environment or sys.flags.isolated),
                "no_site": bool(sys.flags.no_site),
                "other_user": hasattr(os, "getuid") and (os.getuid() != os.geteuid() or os.getgid() != os.getegid()),
            }
        )
    print("autoattach-facts: " + facts)
