"""The command."""

from __future__ import annotations

from typing import TextIO

import click
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from weather.stations import load

HEADERS = ("station", "values", "least", "median", "most")


@click.command()
@click.argument("file", type=click.File())
@click.option("--format", "style", type=click.Choice(["plain", "rich"]), default="plain")
def main(file: TextIO, style: str) -> None:
    """Print a table of a YAML file of stations and their temperatures."""
    rows = [station.row() for station in load(file.read())]
    if style == "plain":
        click.echo(tabulate(rows, HEADERS))
        return
    table = Table(*HEADERS)
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


main(prog_name="weather")
