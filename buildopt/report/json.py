"""Findings for programs: a versioned shape of its own, never a dump of internals."""

from __future__ import annotations

import json
from collections.abc import Iterable

from buildopt.finding import Finding
from buildopt.report.baseline import fingerprint
from buildopt.report.text import printable


def findings_json(findings: Iterable[Finding], files: int) -> str:
    """The findings as one JSON document; ``files`` counts every file that was looked at, broken ones too."""
    document = {"version": 1, "files": files, "findings": [_finding(finding) for finding in findings]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _finding(finding: Finding) -> dict[str, object]:
    line, column = finding.start
    end_line, end_column = finding.end
    fix = finding.fix
    return {
        "path": finding.path.encode("utf-8", "replace").decode(),
        "rule": finding.rule,
        "aliases": list(finding.aliases),
        "category": finding.category.value,
        "severity": finding.severity.label,
        "message": printable(finding.message),
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "fingerprint": fingerprint(finding),
        "fix": None if fix is None else {"title": printable(fix.title), "safe": fix.safe},
    }
