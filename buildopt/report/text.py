"""Findings for people: one line each, and on a terminal the line of the file with the place underlined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildopt.finding import Finding, Severity

_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36", Severity.STYLE: "34"}
# A line longer than this is not shown: it is data, not code.
_MAX_LINE = 400


def findings_text(findings: Iterable[Finding], *, color: bool = False, excerpts: bool = False) -> str:
    """``path:line:column: severity rule (ALIASES) message`` for each finding; with ``excerpts`` also where it is."""
    return "".join(_finding(finding, color, excerpts) for finding in findings)


def _finding(finding: Finding, color: bool, excerpts: bool) -> str:
    line, column = finding.start
    aliases = f" ({', '.join(finding.aliases)})" if finding.aliases else ""
    place = f"{printable(finding.path)}:{line}:{column}:"
    severity, rule = finding.severity.label, finding.rule
    if color:
        severity = f"\x1b[1;{_COLORS[finding.severity]}m{severity}\x1b[0m"
        place, rule, aliases = f"\x1b[1m{place}\x1b[0m", f"\x1b[1m{rule}\x1b[0m", f"\x1b[2m{aliases}\x1b[0m"
    head = f"{place} {severity} {rule}{aliases} {printable(finding.message)}\n"
    return head + _excerpt(finding, line, color) if excerpts else head


def _excerpt(finding: Finding, line: int, color: bool) -> str:
    source = finding.source
    start = source.line_start(line)
    end = source.text.find("\n", start)
    text = source.text[start : len(source.text) if end < 0 else end].rstrip("\r").lstrip("\ufeff")
    if not text.strip() or len(text) > _MAX_LINE:
        return ""
    column = finding.start[1] - 1
    length = max(1, min(finding.span.end - finding.span.start, len(text) - column))
    indent = "".join("\t" if char == "\t" else " " for char in text[:column])
    marks = "^" * length
    if color:
        marks = f"\x1b[{_COLORS[finding.severity]}m{marks}\x1b[0m"
    shown = f"  {printable(text)}\n  {indent}{marks}\n"
    return shown if finding.fix is None else f"{shown}  = {_fix(finding)}\n"


def _fix(finding: Finding) -> str:
    assert finding.fix is not None
    flags = "--fix" if finding.fix.safe else "--fix --unsafe-fixes"
    return f"{flags}: {printable(finding.fix.title)}"


def printable(text: str) -> str:
    """Text without control characters and broken UTF-8: a file must not be able to steer a terminal."""
    return "".join(char if char == "\t" or (char.isprintable() or char == " ") else "\ufffd" for char in text)


def summary(findings: Sequence[Finding], files: int) -> str:
    """``3 findings (1 error) in 2 files, 2 fixable with --fix``."""
    if not findings:
        return f"no findings in {counted(files, 'file')}"
    parts = []
    for severity in sorted(Severity, reverse=True):
        count = sum(finding.severity is severity for finding in findings)
        if count and severity >= Severity.WARNING:
            parts.append(counted(count, severity.label))
    inside = f" ({', '.join(parts)})" if parts else ""
    safe = sum(finding.fix is not None and finding.fix.safe for finding in findings)
    unsafe = sum(finding.fix is not None and not finding.fix.safe for finding in findings)
    text = f"{counted(len(findings), 'finding')}{inside} in {counted(files, 'file')}"
    if safe:
        text += f", {safe} fixable with --fix"
    if unsafe:
        text += f", {unsafe} {'more ' if safe else 'fixable '}with --unsafe-fixes"
    return text


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
