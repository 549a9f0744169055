"""What an earlier report had already: those findings are left out, wherever their lines have moved to."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildopt.errors import UsageError
from buildopt.finding import Finding
from buildopt.report.text import printable

# A message may say where something else stands; that moves like everything else.
_LINES = re.compile(r"\blines? \d+(?:(?:[-–,]| and | to )\s*\d+)*")


def fingerprint(finding: Finding) -> str:
    """A finding's identity within its file: rule, message and text, but neither place nor white space."""
    text, span = finding.source.text, finding.span
    start = finding.source.line_start(finding.start[0])
    end = text.find("\n", max(span.start, span.end - 1))
    lines = text[start : len(text) if end < 0 else end].lstrip("\ufeff")
    parts = (finding.rule, _stable(finding.message), " ".join(lines.split()))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _stable(message: str) -> str:
    return _LINES.sub("line", printable(message))


@dataclass(frozen=True, slots=True)
class Known:
    """A finding of an earlier report; ``fingerprint`` is empty where the report has none."""

    rule: str
    message: str
    fingerprint: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What stays the same when the text around the finding is edited."""
        return self.rule, _stable(self.message)


@dataclass(frozen=True, slots=True)
class Baseline:
    """Findings of an earlier report by file."""

    files: Mapping[str, tuple[Known, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a report of ``buildopt lint --format json``. Raises UsageError where it is none."""
        hint = f"write one with: buildopt lint --format json --fail-on never --output {path}"
        try:
            document = json.loads(path.read_bytes())
            return cls(_read(document, path.parent))
        except OSError as error:
            raise UsageError(f"the baseline {path} cannot be read: {error.strerror}", hint=hint) from error
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise UsageError(f"the baseline {path} is no JSON report of buildopt lint", hint=hint) from error

    def of(self, path: str) -> tuple[Known, ...]:
        """What is known of a file, however its path was written then and is now."""
        return self.files.get(_key(path), ()) if self.files else ()

    def gone(self, results: Mapping[str, int]) -> int:
        """How many entries are settled: ``results`` maps each file that was looked at to how many it still has.

        Entries of a file that was not looked at count only where the file is no longer there.
        """
        still = {_key(path): count for path, count in results.items()}
        return sum(
            len(entries) - still.get(name, 0)
            for name, entries in self.files.items()
            if name in still or not os.path.lexists(name)
        )


def unseen(findings: Sequence[Finding], known: Sequence[Known]) -> tuple[Finding, ...]:
    """Those findings of a file that its known ones do not account for, each of which stands for one finding.

    The same text comes first, then the same message: of two that read alike, the one whose lines were edited is new.
    """
    left = list(known)
    new = _without(findings, left, by_text=True)
    return tuple(_without(new, left, by_text=False))


def _without(findings: Sequence[Finding], left: list[Known], *, by_text: bool) -> Sequence[Finding]:
    """The findings that no entry of ``left`` stands for; the entries that do are taken from it."""
    places: defaultdict[object, deque[int]] = defaultdict(deque)
    for index, entry in enumerate(left):
        if not by_text or entry.fingerprint:
            places[entry.fingerprint if by_text else entry.key].append(index)
    if not places:
        return findings
    new, used = [], set()
    for finding in findings:
        free = places.get(fingerprint(finding) if by_text else (finding.rule, _stable(finding.message)))
        if free:
            used.add(free.popleft())
        else:
            new.append(finding)
    left[:] = [entry for index, entry in enumerate(left) if index not in used]
    return new


def _read(document: Any, folder: Path) -> dict[str, tuple[Known, ...]]:
    """The findings of a parsed report that lies in ``folder``. Raises ValueError and its like where it is none."""
    if document["version"] != 1:
        raise ValueError(document["version"])
    files: defaultdict[str, list[Known]] = defaultdict(list)
    for entry in document["findings"]:
        known = Known(_text(entry["rule"]), _text(entry["message"]), _text(entry.get("fingerprint", "")))
        files[_text(entry["path"])].append(known)
    base = _base(list(files), folder)
    named: defaultdict[str, list[Known]] = defaultdict(list)
    for path, entries in files.items():
        named[_key(path if path == "-" else os.path.join(base, path))] += entries
    return {name: tuple(entries) for name, entries in named.items()}


def _base(paths: Sequence[str], folder: Path) -> str:
    """The folder that a report was written in, as which most of its paths lead to files.

    The working folder comes first, then that of the report, then those above up to the repository's root.
    """
    here = Path(os.path.abspath(""))
    bases = [here, folder]
    for parent in (here, *here.parents):
        bases.append(parent)
        if (parent / ".git").exists():
            break
    else:
        bases = bases[:2]
    return max(map(os.fspath, bases), key=lambda base: sum(os.path.lexists(os.path.join(base, path)) for path in paths))


def _key(path: str) -> str:
    """One name for a file: relative to the working folder, as far as reports can spell it."""
    relative = os.path.relpath(os.path.abspath(path)).replace(os.sep, "/")
    return relative.encode("utf-8", "replace").decode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
