"""An engine for a benchmark: the one that is there, or one of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildopt.commands.common import terminated
from buildopt.engine import connection, daemon
from buildopt.engine.connection import Engine
from buildopt.engine.folders import Folders
from buildopt.errors import EngineError


@contextmanager
def engine_for(folder: Path, own: bool) -> Iterator[Engine]:
    """The engine that ``build-once`` would use; where there is none, or with ``own``, one in ``folder`` that ends."""
    if not own:
        try:
            found = connection.find()
        except EngineError:
            sys.stderr.write("no engine is there: one is started for this run\n")
        else:
            yield found
            return
    with terminated(), daemon.private_engine(folder, downloads=Folders.at().downloads) as engine:
        yield engine
