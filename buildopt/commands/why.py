"""``buildopt why``: why steps of a build ran although there is a cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt.commands.common import Output, output_options
from buildopt.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildopt.history.store import Store

EXAMPLES = """\b
Examples:
  buildopt why
  buildopt why 20261121T161500Z
  buildopt why --format json
"""


@click.command("why", epilog=EXAMPLES)
@click.argument("record", required=False, metavar="[RECORD]")
@output_options("text", "json")
def why(record: str | None, output: Output) -> int:
    """Why steps of the last build missed the cache.

    For each platform: the first step that ran instead of coming from the cache, what changed (an instruction, files,
    a build argument, a base image), how sure that is, and what it cost. RECORD is another build: the "record" of
    build-once --format json, its beginning, or a file.
    """
    from buildopt.build import why as explaining
    from buildopt.history.store import Store
    from buildopt.report import why as report

    folder = Path.cwd()
    store = Store.of(folder)
    if record is None:
        chosen = next(store.records(), None)
        if chosen is None:
            where = "this folder has" if not store.damaged else f"{len(store.damaged)} damaged records, and"
            raise UsageError(f"{where} no record of a build", hint="build first, here: buildopt build-once")
    else:
        chosen = store.find(record, folder)
        if "/" in record or record.endswith(".json"):
            store = Store((folder / record).resolve().parent)
    earlier = [other for other in store.records() if other.id < chosen.id]
    for path in sorted(set(store.damaged)):
        click.echo(f"warning: {path} is damaged and was passed over", err=True)
    explained = explaining.explain(chosen, earlier, lambda name: _tree(store, name))
    if output.json:
        output.result(report.document(chosen, explained))
    else:
        output.result(report.text(chosen, explained, folder, verbose=output.verbose))
    return 0


def _tree(store: Store, name: str) -> Mapping[str, str] | None:
    from buildopt.build.context_files import read_listing

    data = store.tree(name)
    return None if data is None else read_listing(data)
