"""Findings as SARIF 2.1.0, within what GitHub's code scanning takes.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html ·
https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence

from buildopt import __version__
from buildopt.finding import Category, Finding, Fix, Severity
from buildopt.report.baseline import fingerprint
from buildopt.report.line_hashes import line_hashes
from buildopt.report.place import Places
from buildopt.report.rule_text import RuleText, rule_texts
from buildopt.report.text import counted, printable
from buildopt.source import Source, Span

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# Above these GitHub rejects a file; of the results it shows the 5,000 gravest.
MOST_RESULTS = 25_000
MOST_BYTES = 10_000_000  # compressed by gzip
_MOST_TAGS = 20
_MOST_CHARACTERS = 1024  # of a description
_INDENTED_UP_TO = 1000

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note", Severity.STYLE: "note"}
_PROBLEMS = {Severity.ERROR: "error", Severity.WARNING: "warning"}
# GitHub's own words for these scores: high, medium, low, low.
_SCORES = {Severity.ERROR: "8.0", Severity.WARNING: "5.0", Severity.INFO: "3.0", Severity.STYLE: "1.0"}

Json = dict[str, object]


def findings_sarif(findings: Sequence[Finding], failures: Sequence[tuple[str, str]], places: Places) -> tuple[str, str]:
    """The log, and a line that says what was left out of it (empty: nothing).

    ``failures`` are paths that could not be read, each with its reason. Where there are more findings than GitHub
    takes, the gravest are kept.
    """
    room = min(len(findings), MOST_RESULTS)
    while True:
        kept = _gravest(findings, room)
        left_out = len(findings) - len(kept)
        note = f"{counted(left_out, 'finding')} left out: GitHub takes no more in one file" if left_out else ""
        text = _log(kept, failures, places, note)
        if room == 0 or _fits(text):
            return text, note
        room //= 2


def _gravest(findings: Sequence[Finding], room: int) -> Sequence[Finding]:
    """So many of the findings, in their order."""
    if room >= len(findings):
        return findings
    order = sorted(range(len(findings)), key=lambda index: -findings[index].severity)
    return [findings[index] for index in sorted(order[:room])]


def _fits(text: str) -> bool:
    data = text.encode()
    return len(data) <= MOST_BYTES or len(gzip.compress(data, 6, mtime=0)) <= MOST_BYTES


def _log(findings: Sequence[Finding], failures: Sequence[tuple[str, str]], places: Places, note: str) -> str:
    texts = rule_texts()
    names = sorted({finding.rule for finding in findings})
    rules = [_rule(texts[name]) for name in names]
    indexes = {name: index for index, name in enumerate(names)}
    hashes: dict[str, list[str]] = {}
    results = [_result(finding, indexes[finding.rule], places, hashes) for finding in findings]
    run: Json = {
        "tool": {"driver": {"name": "buildopt", "version": __version__, "rules": rules}},
        "invocations": [_invocation(failures, places, note)],
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    indent = 2 if len(results) <= _INDENTED_UP_TO else None
    return json.dumps(log, indent=indent, ensure_ascii=False) + "\n"


def _invocation(failures: Sequence[tuple[str, str]], places: Places, note: str) -> Json:
    notifications: list[Json] = [
        {
            "level": "error",
            "message": {"text": printable(message)},
            "locations": [{"physicalLocation": {"artifactLocation": _artifact(path, places)}}],
        }
        for path, message in failures
    ]
    if note:
        notifications.append({"level": "warning", "message": {"text": note}})
    return {"executionSuccessful": not failures, "toolExecutionNotifications": notifications}


def _rule(text: RuleText) -> Json:
    rule = text.rule
    properties: Json = {
        "tags": [rule.CATEGORY.value, *rule.ALIASES][:_MOST_TAGS],
        "precision": "medium" if getattr(rule, "STRICT", False) else "high",
        "problem.severity": _PROBLEMS.get(rule.SEVERITY, "recommendation"),
    }
    if rule.CATEGORY is Category.SECURITY:
        properties["security-severity"] = _SCORES[rule.SEVERITY]
    described: Json = {
        "id": rule.NAME,
        "name": rule.NAME.replace("-", " ").title().replace(" ", ""),
        "shortDescription": {"text": text.title[:_MOST_CHARACTERS]},
        "fullDescription": {"text": " ".join(text.section("What it does").split())[:_MOST_CHARACTERS] or text.title},
        "help": {"text": text.plain, "markdown": text.markdown},
        "defaultConfiguration": {"level": _LEVELS[rule.SEVERITY]},
        "properties": properties,
    }
    if text.reference:
        described["helpUri"] = text.reference
    return described


def _result(finding: Finding, index: int, places: Places, hashes: dict[str, list[str]]) -> Json:
    source = finding.source
    if source.path not in hashes:
        hashes[source.path] = line_hashes(source.text)
    artifact = _artifact(finding.path, places)
    result: Json = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": _message(finding)},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": _region(source, finding.span)}}],
        "partialFingerprints": {
            "primaryLocationLineHash": hashes[source.path][finding.start[0] - 1],
            "buildopt/v1": fingerprint(finding),
        },
    }
    if finding.fix is not None and all(_is_text(edit.text) for edit in finding.fix.edits):
        result["fixes"] = [_fix(finding.fix, source, artifact)]
    return result


def _message(finding: Finding) -> str:
    """The message, with the codes that the finding has and its rule has not: those of ShellCheck."""
    message = printable(finding.message)
    codes = [alias for alias in finding.aliases if alias not in rule_texts()[finding.rule].rule.ALIASES]
    return f"{message} ({', '.join(codes)})" if codes else message


def _fix(fix: Fix, source: Source, artifact: Json) -> Json:
    replacements = [
        {"deletedRegion": _region(source, edit.span), "insertedContent": {"text": edit.text}}
        for edit in sorted(fix.edits, key=lambda edit: edit.span)
    ]
    title = printable(fix.title)
    return {
        "description": {"text": title if fix.safe else f"{title} (unsafe: it may change behaviour)"},
        "artifactChanges": [{"artifactLocation": artifact, "replacements": replacements}],
    }


def _region(source: Source, span: Span) -> Json:
    (line, column), (end_line, end_column) = source.position(span.start), source.position(span.end)
    return {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}


def _artifact(path: str, places: Places) -> Json:
    uri, relative = places.uri(path)
    return {"uri": uri, "uriBaseId": "%SRCROOT%"} if relative else {"uri": uri}


def _is_text(text: str) -> bool:
    """Whether it can be written down in JSON: a byte that is no UTF-8 cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
