"""Run rules over a Dockerfile, honour its ignore comments, and apply fixes."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from buildopt.dockerfile.as_built import as_built
from buildopt.dockerfile.ignores import Ignore, Silencer, ignores_of
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.profiles import in_profile, is_on
from buildopt.dockerfile.rules import RULES, Rule, shellcheck, unused_ignore
from buildopt.finding import Category, Finding, Fix
from buildopt.settings import LintSettings
from buildopt.source import Edit, Source, Span, apply_edits

# A fix may make room for another one; files settle in two or three rounds.
MAX_ROUNDS = 20
_FOREIGN = re.compile(r"(?:dl|sc)\d{4}")
_SHELLCHECK = re.compile(r"sc\d{4}")


def known_names() -> list[str]:
    """Every name, alias and category that select and ignore understand."""
    names = [name for rule in RULES for name in (rule.NAME, *rule.ALIASES)]
    return [*names, *(category.value for category in Category)]


def unknown_names(names: Iterable[str], *, selected: bool = False) -> list[str]:
    """Those names that no rule has; codes of hadolint and ShellCheck pass, so that their users need not tidy up.

    Of what is ``selected``, only those of ShellCheck do, which are too many to be known: nothing would be checked.
    """
    known = {name.lower() for name in known_names()}
    passing = _SHELLCHECK if selected else _FOREIGN
    return [name for name in names if name.lower() not in known and not passing.fullmatch(name.lower())]


@lru_cache(maxsize=256)
def chosen(settings: LintSettings) -> tuple[Rule, ...]:
    """The rules that profile, select and ignore leave."""
    select = {name.lower() for name in settings.select}
    ignore = {name.lower() for name in settings.ignore}
    wanted = (rule for rule in RULES if (_is_selected(rule, select) if select else is_on(rule, settings)))
    return tuple(rule for rule in wanted if not {rule.NAME, rule.CATEGORY.value} & ignore)


def _is_selected(rule: Rule, select: set[str]) -> bool:
    """ShellCheck's codes are too many to be listed: each of them selects the rule that runs it."""
    return bool(_names(rule) & select) or (rule is shellcheck and any(_SHELLCHECK.fullmatch(name) for name in select))


def _names(rule: Rule) -> set[str]:
    return {rule.NAME, rule.CATEGORY.value, *(alias.lower() for alias in rule.ALIASES)}


def lint(source: Source, settings: LintSettings | None = None) -> list[Finding]:
    """All findings of a file in the order of their places."""
    settings = settings or LintSettings()
    return lint_parsed(parse(source), settings)


def lint_parsed(dockerfile: Dockerfile, settings: LintSettings) -> list[Finding]:
    """All findings of a parsed file in the order of their places.

    A variable in FROM is taken for its default. Whoever builds may say otherwise: a fix stays as far as it is found
    without that.
    """
    if settings.like_hadolint:
        return _linted(replace(dockerfile, always_sh=True), settings)
    found = _linted(dockerfile, settings)
    judged = as_built(dockerfile)
    if judged is dockerfile:
        return found
    fixes = {(item.rule, item.fix.edits): item.fix for item in found if item.fix is not None}
    return [
        item if item.fix is None else replace(item, fix=fixes.get((item.rule, item.fix.edits)))
        for item in _linted(judged, settings)
    ]


def _linted(dockerfile: Dockerfile, settings: LintSettings) -> list[Finding]:
    rules = chosen(settings)
    found = _found(dockerfile, settings, rules)
    ignores = ignores_of(dockerfile, like_hadolint=settings.like_hadolint)
    if ignores and unused_ignore in rules:
        found += _unused(dockerfile, settings, ignores, found)
    silencer = Silencer(ignores)
    kept = [finding for finding in found if next(silencer.silencing(finding), None) is None]
    return sorted(kept, key=lambda finding: (finding.span, finding.rule, finding.message))


def _found(dockerfile: Dockerfile, settings: LintSettings, rules: Iterable[Rule]) -> list[Finding]:
    found = (finding for rule in rules for finding in rule.check(dockerfile, settings))
    return [shown for finding in found if (shown := _as_wanted(finding, settings)) is not None]


def _as_wanted(finding: Finding, settings: LintSettings) -> Finding | None:
    """A rule may have several aliases of which a finding has some: those decide whether it is wanted."""
    names = {finding.rule, finding.category.value, *(alias.lower() for alias in finding.aliases)}
    if names & {name.lower() for name in settings.ignore}:
        return None
    if settings.select and not names & {name.lower() for name in settings.select}:
        return None
    if finding.fix is not None and not _changes(finding.source.text, finding.fix):
        finding = replace(finding, fix=None)
    return in_profile(finding, settings, selected=bool(settings.select))


def _changes(text: str, fix: Fix) -> bool:
    """Whether anything is different after a fix: one that writes what is there would be applied for ever."""
    return any(text[edit.span.start : edit.span.end] != edit.text for edit in fix.edits)


def _unused(
    dockerfile: Dockerfile, settings: LintSettings, ignores: Sequence[Ignore], found: list[Finding]
) -> list[Finding]:
    """What comments silence is known only once all rules of the profile have run."""
    everything = replace(settings, select=(), ignore=())
    rules = chosen(everything)
    if settings.select or settings.ignore:
        found = _found(dockerfile, everything, rules)
    # Whether there is anything for ShellCheck's name to silence depends on the machine.
    judged = {name for rule in rules if rule is not shellcheck for name in _names(rule)}
    unused = unused_ignore.unused(dockerfile, [ignore for ignore in ignores if ignore.name.lower() in judged], found)
    return [shown for finding in unused if (shown := _as_wanted(finding, settings)) is not None]


@dataclass(frozen=True, slots=True)
class Fixed:
    """A source after its fixes, and how many findings they settled."""

    source: Source
    count: int


def fix(
    source: Source,
    settings: LintSettings | None = None,
    *,
    unsafe: bool = False,
    pick: Callable[[Sequence[Finding]], Sequence[Finding]] | None = None,
) -> Fixed:
    """Apply all safe fixes (and with ``unsafe`` the others) until none is left.

    Overlapping fixes wait for the next round. A fix that would bring in a syntax error is left out. ``pick`` chooses
    from the findings of each round those that are to be fixed.
    """
    settings = settings or LintSettings()
    count, original = 0, source
    refused: set[tuple[str, tuple[Edit, ...]]] = set()
    for _ in range(MAX_ROUNDS):
        dockerfile = parse(source)
        found = lint_parsed(dockerfile, settings)
        fixes = [
            (finding.rule, finding.fix)
            for finding in (pick(found) if pick is not None else found)
            if finding.fix is not None and (finding.fix.safe or unsafe)
        ]
        picked = _apart([item for item in fixes if (item[0], item[1].edits) not in refused])
        result = _applied(dockerfile, picked, refused)
        if result.source.text == source.text:
            break
        source, count = result.source, count + result.count
    return Fixed(source, count if source.text != original.text else 0)


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
    kept = _sound(dockerfile, fixes, refused)
    return Fixed(_edited(dockerfile, kept), len(kept))


def _sound(
    dockerfile: Dockerfile, fixes: Sequence[tuple[str, Fix]], refused: set[tuple[str, tuple[Edit, ...]]]
) -> Sequence[tuple[str, Fix]]:
    """Fixes that bring in no error together; halves are tried apart until those that do are found."""
    if not fixes or _is_sound(dockerfile, _edited(dockerfile, fixes)):
        return fixes
    if len(fixes) == 1:
        refused.update((rule, item.edits) for rule, item in fixes)
        return ()
    middle = len(fixes) // 2
    first = _sound(dockerfile, fixes[:middle], refused)
    both = (*first, *_sound(dockerfile, fixes[middle:], refused))
    return both if _is_sound(dockerfile, _edited(dockerfile, both)) else first


def _edited(dockerfile: Dockerfile, fixes: Sequence[tuple[str, Fix]]) -> Source:
    source = dockerfile.source
    return source.replace(apply_edits(source.text, [edit for _, item in fixes for edit in item.edits]))


def _is_sound(before: Dockerfile, changed: Source) -> bool:
    """Whether a change brings in no syntax error and makes no directive of a comment that was none, nor the reverse."""
    after = parse(changed)
    if len(after.errors) > len(before.errors) or _directives(after) != _directives(before):
        return False
    return {item.name for item in after.directives} <= {item.name for item in before.directives}


def _directives(dockerfile: Dockerfile) -> list[tuple[str, str]]:
    """Those that decide how the file is read."""
    return [(item.name, item.value) for item in dockerfile.directives if item.name in ("escape", "syntax")]
