"""Files of a user's project: read as they are, written as a whole or not at all."""

from __future__ import annotations

import os
import tempfile

from autoattach._errors import AttachError

BOM = "\ufeff"


def read(path: str) -> str | None:
    """The text, byte-order mark and line ends included; None where there is no file.

    Raises `AttachError` where it cannot be read or is no UTF-8.
    """
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise AttachError(f"{path} cannot be read: {reason}") from None


def write(path: str, text: str) -> None:
    """Put the text there, in one step: whoever reads sees the old file or the new one.

    Folders are made, a symbolic link is followed, a file's permissions stay. Raises `AttachError`.
    """
    try:
        data = text.encode("utf-8")
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        target = os.path.realpath(path)
        there = os.stat(target) if os.path.exists(target) else None
        if there is not None and not os.access(target, os.W_OK):
            raise AttachError(f"{path} is read-only", "it was left alone")
        number, temporary = tempfile.mkstemp(prefix=".autoattach-", dir=os.path.dirname(target))
        try:
            with open(number, "wb") as file:
                file.write(data)
            os.chmod(temporary, there.st_mode & 0o7777 if there is not None else 0o666 & ~_umask())
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except UnicodeEncodeError:
        raise AttachError(f"{path} was left alone", "what belongs into it is no text") from None
    except OSError as error:
        raise AttachError(f"{path} cannot be written: {error.strerror or error}") from None


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
