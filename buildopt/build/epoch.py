"""The one time that a reproducible build knows: what ``--source-date-epoch`` means, in seconds since 1970."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from buildopt import process
from buildopt.errors import ToolError, UsageError

VARIABLE = "SOURCE_DATE_EPOCH"
# Layers cannot hold later times everywhere: 32 bits, unsigned, as gzip and many tars have them.
_MOST = (1 << 32) - 1
_SECONDS = 20.0  # for git to answer
_HINT = "a number of seconds since 1970, git (the time of the last commit), or auto"


def resolve(text: str, context: Path, environment: Mapping[str, str]) -> int:
    """The time that ``text`` means: seconds, ``git`` (of the last commit of ``context``'s repository), or ``auto``
    (``$SOURCE_DATE_EPOCH`` where it is set, else ``git``). Raises UsageError."""
    if text == "auto":
        given = environment.get(VARIABLE)
        return _seconds(given, f"${VARIABLE}") if given else _of_commit(context)
    return _of_commit(context) if text == "git" else _seconds(text, "--source-date-epoch")


def _seconds(text: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _MOST:
        raise UsageError(f"{where} is not a time: {text!r}", hint=_HINT)
    return int(text)


def _of_commit(context: Path) -> int:
    argv = ["git", "-C", str(context), "log", "-1", "--no-show-signature", "--format=%ct"]
    try:
        done = process.run(argv, timeout=_SECONDS)
    except ToolError as error:
        reason = error.detail[-1] if error.detail else error.message
        raise UsageError(
            f"git cannot tell the time of the last commit of {context}: {reason}",
            hint="commit first, or give the seconds: --source-date-epoch 1700000000",
        ) from error
    return _seconds(done.text.strip(), "the time of the last commit")
