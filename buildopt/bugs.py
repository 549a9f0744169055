"""What is told of a bug: a line, and a file with its traceback to be reported."""

from __future__ import annotations

import sys

from buildopt import __version__


def told(error: Exception) -> tuple[str, str]:
    """Write the file; message and hint for people."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="buildopt-", suffix=".txt", delete=False) as report:
        report.write(f"buildopt {__version__}, Python {sys.version}\n{' '.join(sys.argv[:2])}\n\n")
        report.write("".join(traceback.format_exception(error)))
    return f"this is a bug in buildopt: {type(error).__name__}: {error}", f"please report it with {report.name}"
