"""Findings as Markdown for a pull request or a job's summary: a table a file.

What comes out of a Dockerfile cannot leave its cell: it is neither markup nor HTML, calls nobody and links nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from buildopt.finding import Finding, Severity
from buildopt.report.rule_text import rule_texts
from buildopt.report.text import counted, printable, summary

# What GitHub takes as a step's summary, in bytes.
MOST_BYTES = 1 << 20
# Room for the heading and for the words of what was left out.
_RESERVED = 2048
_MARKS = {Severity.ERROR: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵", Severity.STYLE: "⚪"}
_TABLE = "| | Line | Rule | Message | Fix |\n| :-: | --: | --- | --- | --- |\n"
_MARKUP = re.compile(r"[\\`*_\[\]~&<>|$]")
# A bar in a cell and a dollar (of a formula) are not taken for what they are behind a backslash everywhere.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "$": "&#36;"}
# `@name`, `#1`, addresses and `:icons:` come to life in plain text; an empty comment keeps them from it.
_ALIVE = re.compile(r"@(?=\S)|#(?=\d)|:(?=//)|www(?=\.)|:(?=[\w+-]+:)", re.IGNORECASE)
_BREAK = "<!-- -->"


def findings_markdown(findings: Sequence[Finding], failures: Sequence[tuple[str, str]], files: int) -> str:
    """The findings of so many files that were looked at, and the ``failures``: paths with reasons why they were not.

    Where there are too many for a step's summary, the gravest are kept and the others counted.
    """
    head = f"## buildopt lint\n\n{_sentence(findings, files)}\n"
    room = MOST_BYTES - _RESERVED - len(head.encode())
    lost = "".join(f"- {code(path)}: {text(message)}\n" for path, message in failures)
    if failures:
        lost = f"\nNot looked at:\n\n{lost}"
    if len(lost.encode()) > room:
        lost = f"\n{counted(len(failures), 'file')} could not be read.\n"
    shown = _gravest(findings, room - len(lost.encode()))
    parts = [head, lost, *_tables(shown)]
    if len(shown) < len(findings):
        parts.append(f"\n{counted(len(findings) - len(shown), 'more finding')}: too many to show here.\n")
    return "".join(parts)


def _sentence(findings: Sequence[Finding], files: int) -> str:
    words = summary(findings, files)
    return f"{words[0].upper()}{words[1:]}.".replace("--fix", "`--fix`").replace("--unsafe-fixes", "`--unsafe-fixes`")


def _gravest(findings: Sequence[Finding], room: int) -> list[Finding]:
    """As many findings as there is room for, in their order."""
    kept = []
    tables: set[str] = set()
    for index in sorted(range(len(findings)), key=lambda index: -findings[index].severity):
        finding = findings[index]
        room -= len(_row(finding).encode())
        if finding.path not in tables:
            tables.add(finding.path)
            room -= len(_heading(finding.path).encode())
        if room < 0:
            break
        kept.append(index)
    return [findings[index] for index in sorted(kept)]


def _tables(findings: Sequence[Finding]) -> Iterator[str]:
    for path, group in groupby(findings, key=lambda finding: finding.path):
        yield _heading(path)
        yield from map(_row, group)


def _heading(path: str) -> str:
    return f"\n### {code(path)}\n\n{_TABLE}"


def _row(finding: Finding) -> str:
    severity = f"{_MARKS[finding.severity]} {finding.severity.label}"
    documentation = rule_texts().get(finding.rule)
    rule = code(finding.rule, cell=True)
    if documentation is not None and documentation.reference:
        rule = f"[{rule}](<{documentation.reference}>)"
    aliases = "".join(f" {text(alias)}" for alias in finding.aliases)
    fix = ""
    if finding.fix is not None:
        fix = f"{'`--fix`' if finding.fix.safe else '`--fix --unsafe-fixes`'}: {text(finding.fix.title)}"
    cells = (severity, str(finding.start[0]), f"{rule}{aliases}", text(finding.message), fix)
    return f"| {' | '.join(cells)} |\n"


def text(words: str) -> str:
    """Words as they are, whatever they mean in Markdown."""
    parts = _ALIVE.sub("\\g<0>\0", printable(words)).split("\0")
    return _BREAK.join(_MARKUP.sub(_escaped, part) for part in parts)


def _escaped(match: re.Match[str]) -> str:
    return _ENTITIES.get(match[0], f"\\{match[0]}")


def code(words: str, *, cell: bool = False) -> str:
    """Words as code; in a cell of a table there is no way to write a bar in code, so that it is text there."""
    words = printable(words)
    if cell and "|" in words:
        return text(words)
    fence = "`" * (max((len(run) for run in re.findall("`+", words)), default=0) + 1)
    space = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{space}{words}{space}{fence}"
