"""run(): the one way in from every start-up hook."""

import os

_ran = False


def run() -> None:
    """Decide, and attach. Once per process, never raises.

    Once, because `site` runs a `.pth` line twice in a virtual environment (up to Python 3.14), and the sitecustomize
    door may stand beside it. It takes no arguments and returns nothing, so that any kind of hook can call it.
    """
    global _ran
    if _ran:
        return
    _ran = True
    try:
        from autoattach._plan import gate
        from autoattach._process import Process
        from autoattach._settings import Settings

        settings = Settings.from_environ(os.environ)
        if not settings.on:
            return
        process = Process.current()
        skip = gate(settings, process)
        if skip is None or skip.carried or settings.verbose or settings.awaited:
            from autoattach import _attach

            if skip is None:
                later = _attach.start(settings, process)
                if later is not None:
                    from autoattach._armed import arm

                    arm(later, settings)
            else:
                _attach.skip(settings, skip)
    except BaseException as error:  # site lets only Exception pass: anything else would keep Python from starting
        _report(error)


def _report(error: BaseException) -> None:
    try:
        from autoattach._notices import say

        say(f"{type(error).__name__}: {error}; running on without a debugger")
    except BaseException:
        pass
