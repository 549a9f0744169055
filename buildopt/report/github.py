"""Findings as annotations of GitHub Actions: workflow commands on standard output."""

from __future__ import annotations

from collections.abc import Sequence

from buildopt.finding import Finding, Severity
from buildopt.report.place import Places
from buildopt.report.text import findings_text, printable

# GitHub shows so many annotations of each kind a step, those that come first.
MOST = 10
_KINDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice", Severity.STYLE: "notice"}


def findings_github(findings: Sequence[Finding], places: Places) -> str:
    """One annotation a finding, the gravest first, as far as GitHub shows them; the others as text in a group."""
    ordered = sorted(findings, key=lambda finding: -finding.severity)
    shown, more = _split(ordered, {"error": MOST, "warning": MOST, "notice": MOST})
    if more:  # the word of how many there are more is a notice itself
        shown, more = _split(ordered, {"error": MOST, "warning": MOST, "notice": MOST - 1})
    lines = [_annotation(finding, places) for finding in shown]
    if more:
        word = f"{len(more)} more finding{'' if len(more) == 1 else 's'}"
        lines.append(f"::notice title=buildopt lint::{word} in the log of this step: GitHub shows {MOST} of each kind")
        lines.append(f"::group::{word}")
        lines += [harmless(line) for line in findings_text(more).splitlines()]
        lines.append("::endgroup::")
    return "".join(f"{line}\n" for line in lines)


def annotation(kind: str, message: str, *, path: str | None = None, line: int = 0, title: str = "") -> str:
    """One annotation, ``kind`` being ``error``, ``warning`` or ``notice``, for a whole file or a line of it."""
    properties = {"file": path or "", "line": str(line) if path and line else "", "title": title}
    words = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{kind} {words}::{_data(chr(10).join(map(printable, message.splitlines())))}"


def _split(findings: Sequence[Finding], room: dict[str, int]) -> tuple[list[Finding], list[Finding]]:
    shown: list[Finding] = []
    more: list[Finding] = []
    for finding in findings:
        kind = _KINDS[finding.severity]
        (shown if room[kind] else more).append(finding)
        room[kind] = max(0, room[kind] - 1)
    return shown, more


def _annotation(finding: Finding, places: Places) -> str:
    (line, column), (end_line, end_column) = finding.start, finding.end
    relative = places.relative(finding.path)
    properties = {"file": finding.path if relative is None else relative, "line": line, "endLine": end_line}
    if finding.path == "-":
        del properties["file"]
    if line == end_line:  # GitHub drops an annotation that has columns on different lines
        properties |= {"col": column, "endColumn": end_column}
    aliases = f" ({', '.join(finding.aliases)})" if finding.aliases else ""
    properties["title"] = f"{finding.rule}{aliases}"
    words = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::{_KINDS[finding.severity]} {words}::{_data(printable(finding.message))}"


def _data(text: str) -> str:
    """What stands behind the second ``::``, as GitHub's runner decodes it."""
    return _utf8(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def harmless(text: str) -> str:
    """A text of the log of which no line is a workflow command, of neither syntax."""
    lines = (f"./{line}" if line.lstrip().startswith("::") else line for line in text.split("\n"))
    return "\n".join(lines).replace("##[", "## [")


def _utf8(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
