"""Files of a build context, which may be anything: read whole, or not at all, and never waited for."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from buildopt.source import MAX_BYTES


def read_data(path: Path, most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of up to ``most`` bytes.

    Raises OSError where it is none (a pipe would be waited for, a device has no end), is larger or cannot be read.
    """
    try:
        # Without waiting, as the file may have been replaced by a pipe since it was looked at.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(errno.EINVAL, "no regular file", os.fspath(path))
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a name that no file can have
        raise OSError(errno.EINVAL, str(error)) from error
    with open(handle, "rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, "too large", os.fspath(path))
    return data


def read_text(path: Path, encoding: str = "utf-8", errors: str = "replace", most: int = MAX_BYTES) -> str:
    """The text of such a file, its line endings as they are in Python. Raises OSError as ``read_data`` does."""
    text = read_data(path, most).decode(encoding, errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_value(text: str) -> Any:
    """What a text says in JSON. Raises ValueError where it is none, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
