"""The other door of autoattach, for places where no ``.pth`` file is read.

Put the folder of this file on ``PYTHONPATH``. With ``START_DEBUGGER`` set it does what ``autoattach.pth`` does;
set or not, it then runs the ``sitecustomize`` that it hides, once, as if this file were not there.
"""

# Whatever Python inherits PYTHONPATH reads this file: no syntax that an old one would stumble over. And newrelic
# runs it inside its own module, so the few names it leaves there are its own.
import os
import sys

_autoattach_bundle = ""  # `autoattach bundle` names the folder beside this file in which autoattach lies


def _autoattach_offer():
    # `import autoattach` and `python -m autoattach` find the bundle's, where the program has none of its own; set or
    # not, for the commands. One finder, the last to be asked: it opens nothing until somebody wants that name.
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), _autoattach_bundle)

    class Bundle:
        autoattach_bundle = folder

        @classmethod
        def find_spec(cls, name, path=None, target=None):
            if name != "autoattach":
                return None
            from _frozen_importlib_external import PathFinder

            return PathFinder.find_spec(name, [folder])

    if all(getattr(finder, "autoattach_bundle", "") != folder for finder in sys.meta_path):
        sys.meta_path.append(Bundle)


def _autoattach_run():
    if sys.version_info < (3, 8):
        if not (hasattr(sys, "_autoattach_rest") or sys.flags.ignore_environment):
            version = "%d.%d" % sys.version_info[:2]
            _autoattach_say("this is Python %s (%s), and autoattach needs 3.8 or later" % (version, sys.executable))
        return
    try:
        run = _autoattach_find()
    except Exception as error:
        # Once, whoever runs us again (below); and silent where the environment is to be ignored.
        if not (hasattr(sys, "_autoattach_rest") or sys.flags.ignore_environment):
            _autoattach_say(
                "autoattach cannot be loaded (%s: %s); type: %s -m pip install autoattach (or put the folder it is "
                "installed in on PYTHONPATH)" % (type(error).__name__, error, sys.executable)
            )
    else:
        run()


def _autoattach_find():
    try:
        from autoattach._bootstrap import run
    except ImportError:
        # In a checkout, or one level below a `pip install --target` folder, the package lies beside this folder; or
        # this folder lies in the package. Last on the path: what the program has of its own wins.
        beside = os.path.dirname(os.path.abspath(__file__))
        beside = os.path.join(beside, _autoattach_bundle) if _autoattach_bundle else os.path.dirname(beside)
        inside = os.path.isfile(os.path.join(beside, "_bootstrap.py"))
        if inside:
            beside = os.path.dirname(beside)
        sys.modules.pop("autoattach", None)  # some folder that only bears the name
        sys.path.append(beside)
        try:
            from autoattach._bootstrap import run
        finally:
            # A --target folder stays, for the debugger in it is loaded later. A checkout has none. Of another Python's
            # site-packages nothing else is wanted: `autoattach run` says where its debuggers are.
            debuggers = {"debugpy", "ptvsd", "pydevd_pycharm.py"}
            if inside or not (os.path.isdir(beside) and debuggers.intersection(os.listdir(beside))):
                sys.path.remove(beside)
    return run


def _autoattach_say(what):
    try:
        sys.stderr.write("autoattach[%d]: START_DEBUGGER is set, but %s\n" % (os.getpid(), what))
        awaited = os.environ.get("AUTOATTACH_RUN", "")  # `autoattach run` need not say it as well
        if awaited.endswith(".run"):
            os.unlink(awaited)
    except Exception:
        pass  # stderr is closed or None: the program comes first


def _autoattach_next(name):
    try:
        from _frozen_importlib_external import PathFinder  # importlib.machinery's, which would cost an import
    except ImportError:
        return _autoattach_next_of_old(name)

    class Once:
        """Answers one import with what was found, and is gone before that runs."""

        @classmethod
        def find_spec(cls, name, path=None, target=None):
            sys.meta_path.remove(cls)
            return spec

    # What is left of the path to search is shared by every copy of this file: what we hide may import
    # "sitecustomize" in its turn (ddtrace, newrelic, a second copy) and get us again, and then we go on from there.
    # The path itself stays whole, for what we hide may need to import from our folder.
    first = not hasattr(sys, "_autoattach_rest")
    if first:
        path = [os.path.abspath(entry) for entry in sys.path]
        own = os.path.dirname(os.path.abspath(__file__))  # not realpath: a link to our folder is a second copy
        sys._autoattach_rest = sys.path[path.index(own) + 1 :] if own in path else sys.path[:]
    ours = sys.modules.pop(name, None)
    found = False
    try:
        while sys._autoattach_rest and not found:
            spec = PathFinder.find_spec(name, [sys._autoattach_rest.pop(0)])
            if spec is not None and spec.loader is not None:
                found = True
                sys.meta_path.insert(0, Once)
                __import__(name)  # its errors are its own: site shows them
    finally:
        # What we hid stays in our place. If it failed, or there is none, the importer wants to find us there.
        if ours is not None:
            sys.modules.setdefault(name, ours)
        if first:
            del sys._autoattach_rest


def _autoattach_next_of_old(name):
    import imp  # of Python 2

    path = [os.path.abspath(entry) for entry in sys.path]
    own = os.path.dirname(os.path.abspath(__file__))
    ours = sys.modules.pop(name, None)
    try:
        try:
            found = imp.find_module(name, sys.path[path.index(own) + 1 :] if own in path else sys.path)
        except ImportError:
            return
        try:
            imp.load_module(name, *found)
        finally:
            if found[0] is not None:
                found[0].close()
    finally:
        if ours is not None:
            sys.modules.setdefault(name, ours)


if _autoattach_bundle and sys.version_info >= (3, 8):
    _autoattach_offer()
if os.environ.get("START_DEBUGGER", "").strip().lower() not in ("", "0", "false", "no", "off"):
    _autoattach_run()
_autoattach_next("sitecustomize")
