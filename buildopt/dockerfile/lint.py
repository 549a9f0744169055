"""Run rules over a Dockerfile, honour its ignore comments, and apply fixes."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.rules import RULES, Rule
from buildopt.finding import Category, Finding, Fix
from buildopt.settings import LintSettings
from buildopt.source import Edit, Source, Span, apply_edits

# A fix may make room for another one; files settle in two or three rounds.
MAX_ROUNDS = 20
_PRAGMA = re.compile(r"(hadolint|buildopt)\s+(global\s+)?ignore\s*=\s*([A-Za-z0-9_\-, ]+)", re.IGNORECASE)
_FOREIGN = re.compile(r"(?:DL|SC)\d{4}", re.IGNORECASE)
_BUILDKIT = re.compile(r"[A-Z][a-z]+[A-Za-z]+|JSON[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Ignores:
    """What a file's comments silence: names for the whole file, and for ranges of lines."""

    everywhere: frozenset[str]
    by_lines: tuple[tuple[int, int, frozenset[str]], ...]

    def silences(self, finding: Finding) -> bool:
        """Whether a comment speaks of this finding's rule."""
        names = {finding.rule, *(alias.lower() for alias in finding.aliases)}
        if names & self.everywhere:
            return True
        line = finding.start[0]
        return any(first <= line <= last and names & ignored for first, last, ignored in self.by_lines)


def known_names() -> list[str]:
    """Every name, alias and category that select and ignore understand."""
    names = [name for rule in RULES for name in (rule.NAME, *rule.ALIASES)]
    return [*names, *(category.value for category in Category)]


def unknown_names(names: Iterable[str]) -> list[str]:
    """Those names that no rule has; codes of hadolint and ShellCheck pass, so that their users need not tidy up."""
    known = {name.lower() for name in known_names()}
    return [name for name in names if name.lower() not in known and not _FOREIGN.fullmatch(name)]


def chosen(settings: LintSettings) -> tuple[Rule, ...]:
    """The rules that select and ignore leave."""
    select = {name.lower() for name in settings.select}
    ignore = {name.lower() for name in settings.ignore}
    return tuple(rule for rule in RULES if (not select or _names(rule) & select) and not _names(rule) & ignore)


def _names(rule: Rule) -> set[str]:
    return {rule.NAME, rule.CATEGORY.value, *(alias.lower() for alias in rule.ALIASES)}


def lint(source: Source, settings: LintSettings | None = None) -> list[Finding]:
    """All findings of a file in the order of their places."""
    settings = settings or LintSettings()
    return lint_parsed(parse(source), settings)


def lint_parsed(dockerfile: Dockerfile, settings: LintSettings) -> list[Finding]:
    """All findings of a parsed file in the order of their places."""
    found = [finding for rule in chosen(settings) for finding in rule.check(dockerfile, settings)]
    ignores = ignores_of(dockerfile)
    kept = [finding for finding in found if not ignores.silences(finding)]
    return sorted(kept, key=lambda finding: (finding.span, finding.rule, finding.message))


def ignores_of(dockerfile: Dockerfile) -> Ignores:
    """Read ``# hadolint ignore=…``, ``# buildopt ignore=…``, both with ``global``, and ``# check=skip=…``.

    A comment above or inside an instruction holds for it; a global one, wherever it stands, for the file.
    """
    everywhere = set(_skipped_checks(dockerfile))
    for comment in dockerfile.comments:
        for _, is_global, names in _PRAGMA.findall(comment.text):
            if is_global:
                everywhere |= _split(names)
    by_lines = []
    for instruction in dockerfile.instructions:
        ignored: set[str] = set()
        for comment in instruction.comments:
            ignored.update(*(_split(listed) for _, is_global, listed in _PRAGMA.findall(comment.text) if not is_global))
        if ignored:
            by_lines.append((*instruction.lines, frozenset(ignored)))
    return Ignores(frozenset(everywhere), tuple(by_lines))


def _split(names: str) -> set[str]:
    return {name for name in re.split(r"[,\s]+", names.lower()) if name}


def _skipped_checks(dockerfile: Dockerfile) -> Iterable[str]:
    """The names behind ``# check=skip=``; ``all`` stands for every rule that BuildKit has too."""
    directive = dockerfile.directive("check")
    for part in directive.value.split(";") if directive is not None else ():
        key, _, value = part.partition("=")
        if key.strip().lower() != "skip":
            continue
        names = _split(value)
        if "all" in names:
            names |= {alias.lower() for rule in RULES for alias in rule.ALIASES if _BUILDKIT.fullmatch(alias)}
        yield from names


@dataclass(frozen=True, slots=True)
class Fixed:
    """A source after its fixes, and how many findings they settled."""

    source: Source
    count: int


def fix(source: Source, settings: LintSettings | None = None, *, unsafe: bool = False) -> Fixed:
    """Apply all safe fixes (and with ``unsafe`` the others) until none is left.

    Overlapping fixes wait for the next round. A fix that would bring in a syntax error is left out.
    """
    settings = settings or LintSettings()
    count = 0
    refused: set[tuple[str, tuple[Edit, ...]]] = set()
    for _ in range(MAX_ROUNDS):
        dockerfile = parse(source)
        fixes = [
            (finding.rule, finding.fix)
            for finding in lint_parsed(dockerfile, settings)
            if finding.fix is not None and (finding.fix.safe or unsafe)
        ]
        picked = _apart([item for item in fixes if (item[0], item[1].edits) not in refused])
        result = _applied(dockerfile, picked, refused)
        if result.count == 0:
            break
        source, count = result.source, count + result.count
    return Fixed(source, count)


def _apart(fixes: Sequence[tuple[str, Fix]]) -> list[tuple[str, Fix]]:
    """Fixes that do not touch each other, first come, first served."""
    picked: list[tuple[str, Fix]] = []
    taken: list[Span] = []
    for rule, candidate in fixes:
        if not any(_touches(edit.span, taken) for edit in candidate.edits):
            picked.append((rule, candidate))
            for edit in candidate.edits:
                insort(taken, edit.span)
    return picked


def _touches(span: Span, taken: list[Span]) -> bool:
    """Whether a span overlaps one of a sorted list of spans that do not overlap: only its neighbours can."""
    place = bisect_left(taken, span)
    return any(span.overlaps(other) for other in taken[max(place - 2, 0) : place + 2])


def _applied(
    dockerfile: Dockerfile, fixes: Sequence[tuple[str, Fix]], refused: set[tuple[str, tuple[Edit, ...]]]
) -> Fixed:
    """The source with as many of the fixes as leave it as sound as it was."""
    source, limit = dockerfile.source, len(dockerfile.errors)
    text = apply_edits(source.text, [edit for _, item in fixes for edit in item.edits])
    changed = source.replace(text)
    if not fixes or len(parse(changed).errors) <= limit:
        return Fixed(changed, len(fixes))
    for rule, item in fixes:
        alone = source.replace(apply_edits(source.text, item.edits))
        if len(parse(alone).errors) > limit:
            refused.add((rule, item.edits))
        else:
            return Fixed(alone, 1)
    return Fixed(source, 0)
