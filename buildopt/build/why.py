"""Why steps of a build missed the cache: a pure function of its record and those before it.

A step is explained where it ran although everything that it is made from was cached; what ran after it ran because of
it. It is compared with the last build in which the same steps stood before it, for that is how BuildKit looks it up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher

from buildopt.build import why_causes as causes
from buildopt.build.why_causes import CERTAIN, LIKELY, NOT_SURE, Cause, Compared
from buildopt.history.records import DONE, UNFINISHED, UNKNOWN, Record, Step

MOST_COMPARED = 50
"""With how many builds a step is compared."""
Tree = Callable[[str], Mapping[str, str] | None]
"""Finds a listing of files by its name; None where it is gone."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A step that is the first to have missed, why (most telling first), and what it cost: how many steps ran because
    of it, itself among them, and how many ``seconds`` they took. ``compared`` is the record that it was compared with.
    """

    step: Step
    causes: tuple[Cause, ...]
    steps: int
    seconds: float
    compared: str = ""


@dataclass(frozen=True, slots=True)
class PlatformMisses:
    """A platform's steps: how many, how many of them cached, how long those that ran took, and what missed first."""

    platform: str
    total: int
    cached: int
    seconds: float
    misses: tuple[Miss, ...]


def explain(record: Record, earlier: Sequence[Record], tree: Tree) -> tuple[PlatformMisses, ...]:
    """For each platform of a record the steps that missed by themselves. ``earlier`` are the records before it, the
    newest first."""
    return tuple(_platform(record, earlier, tree, platform) for platform in record.platforms or ("",))


def _platform(record: Record, earlier: Sequence[Record], tree: Tree, platform: str) -> PlatformMisses:
    mine = [number for number, step in enumerate(record.steps) if _is_for(step, platform)]
    missed = [number for number in mine if _missed(record.steps[number])]
    roots = [number for number in missed if not any(_missed(record.steps[need]) for need in record.steps[number].needs)]
    roots.sort(key=lambda number: record.steps[number].line or 1 << 30)
    because = _because(record, roots, missed)
    found = []
    for root in roots:
        own = [number for number in missed if because.get(number) == root]
        explained, compared = _Explainer(record, earlier, tree, platform).explain(root)
        seconds = sum(record.steps[number].seconds for number in own)
        found.append(Miss(record.steps[root], tuple(explained), len(own), round(seconds, 3), compared))
    cached = sum(record.steps[number].cached for number in mine)
    seconds = sum(record.steps[number].seconds for number in missed)
    return PlatformMisses(platform, len(mine), cached, round(seconds, 3), tuple(found))


def _is_for(step: Step, platform: str) -> bool:
    return platform in step.platforms or not step.platforms


def _missed(step: Step) -> bool:
    return not step.cached and (step.state != UNFINISHED or step.seconds > 0)


def _because(record: Record, roots: Sequence[int], missed: Sequence[int]) -> dict[int, int]:
    """For each step that ran the first one that made it run."""
    found = {root: root for root in roots}
    for number in missed:  # in order: what a step needs stands before it
        if number not in found:
            reasons = [found[need] for need in record.steps[number].needs if need in found]
            if reasons:
                found[number] = min(reasons, key=roots.index)
    return found


@dataclass(frozen=True, slots=True)
class _Explainer:
    record: Record
    earlier: Sequence[Record]
    tree: Tree
    platform: str

    def explain(self, root: int) -> tuple[list[Cause], str]:
        """Why a step ran, and the record that it was compared with (empty: none)."""
        step = self.record.steps[root]
        if self.record.no_cache:
            return [Cause("no-cache", "--no-cache was asked for")], ""
        here = [other for other in self.earlier if other.builder == self.record.builder]
        for other in here:
            again = [old for old in other.steps if old.key == step.key and step.key]
            if any(old.state == DONE for old in again):
                return [self._lost(step, other)], other.id
        for other in here:
            if any(old.key == step.key for old in other.steps):
                return [
                    Cause("unfinished", "it did not finish in the build before: only what ends well is kept")
                ], other.id
        for exact in (True, False):
            found = self._nearest(root, [other for other in here if self._same_build(other)], exact)
            if found is not None:
                return found
        return [self._never(step, here)], ""

    def _same_build(self, other: Record) -> bool:
        return (other.dockerfile, other.context) == (self.record.dockerfile, self.record.context)

    def _nearest(self, root: int, builds: Sequence[Record], exact: bool) -> tuple[list[Cause], str] | None:
        """The comparison with the build that differs least, the last one of several: a hit needs only one."""
        best: tuple[list[Cause], str] | None = None
        for other in builds[:MOST_COMPARED]:
            found = self._compared(root, other, exact)
            if found is not None and (best is None or len(found) < len(best[0])):
                best = found, other.id
            if best is not None and (len(best[0]) == 1 or not exact):
                break
        return best

    def _lost(self, step: Step, other: Record) -> Cause:
        if not step.matched:
            return Cause(
                "unknown", "it is no instruction of this Dockerfile, and what it reads is not on record", NOT_SURE
            )
        if _at_once(self.record, other):
            return Cause("concurrent", f"another build made it at the same time ({other.id})", LIKELY)
        if "remote" in step.parts:
            return Cause("remote", f"what {step.parts['remote']} serves changed, or was cached no longer", LIKELY)
        if other.syntax != self.record.syntax:
            before, now = other.syntax or "none", self.record.syntax or "none"
            return Cause("instruction", f"# syntax changed: {before} → {now}", NOT_SURE)
        return Cause(
            "evicted",
            "it was built before with the very same inputs, but the builder's cache lost it (pruned, or made room)",
            LIKELY,
        )

    def _compared(self, root: int, other: Record, exact: bool) -> list[Cause] | None:
        """What differs from a step of another record; None where none can be compared."""
        step = self.record.steps[root]
        old = self._counterpart(step, other, exact)
        if old is None:
            return self._appended(root, other) if exact else None
        sure = CERTAIN if exact and step.matched and other.steps[old].matched else LIKELY
        pair = Compared(self.record, other, step, other.steps[old], sure, self.tree)
        moved = self._added_or_removed(root, other, old, sure)
        found = [moved] if moved is not None else causes.differences(pair)
        if found:
            return found
        if exact:
            return None
        return [
            Cause(
                "evicted", "nothing that it depends on is known to have changed: the cache may have lost it", NOT_SURE
            )
        ]

    def _appended(self, root: int, other: Record) -> list[Cause] | None:
        """Where the other build's stage ended with the step before this one."""
        step = self.record.steps[root]
        keys = {old.key for old in other.steps if old.stage == step.stage and _is_for(old, self.platform)}
        before = [self.record.steps[need] for need in step.needs]
        if not any(need.stage == step.stage and need.key in keys for need in before):
            return None
        tail = self._tail(self.record, root)
        return [causes.added([self.record.steps[number] for number in tail], CERTAIN)]

    def _counterpart(self, step: Step, other: Record, exact: bool) -> int | None:
        """The step of another record that stood where this one stands: behind the same steps; not ``exact``: in the
        same place of the same stage, or the same text."""
        candidates = [
            number
            for number, old in enumerate(other.steps)
            if _is_for(old, self.platform) and self._same_stage(step, old, other)
        ]
        if exact:
            needs = sorted(self.record.steps[need].key for need in step.needs)
            candidates = [
                number
                for number in candidates
                if sorted(other.steps[need].key for need in other.steps[number].needs) == needs
            ]
        else:
            candidates = [
                number
                for number in candidates
                if other.steps[number].number == step.number or other.steps[number].text == step.text
            ]
        return min(candidates, key=lambda number: _distance(step, other.steps[number]), default=None)

    def _same_stage(self, step: Step, old: Step, other: Record) -> bool:
        if step.stage == old.stage:
            return True
        # A stage that has another name now: neither name means anything in the other build.
        names = {entry.stage for entry in self.record.steps}
        old_names = {entry.stage for entry in other.steps}
        renamed = step.stage not in old_names and old.stage not in names
        return renamed and self.record.target == other.target and not _has_stage(other, step.stage)

    def _added_or_removed(self, root: int, other: Record, old: int, sure: str) -> Cause | None:
        """Where the steps of the stage from here on differ by an instruction put in or taken out: which one."""
        now, before = self._tail(self.record, root), self._tail(other, old)
        first = [causes.signature(self.record.steps[number]) for number in now]
        second = [causes.signature(other.steps[number]) for number in before]
        for tag, start, end, new_start, new_end in SequenceMatcher(None, second, first, autojunk=False).get_opcodes():
            if tag == "equal" or new_start > 0:
                return None
            if tag == "insert":
                return causes.added([self.record.steps[number] for number in now[new_start:new_end]], sure)
            if tag == "delete":
                return causes.removed([other.steps[number] for number in before[start:end]], sure)
            return None
        return None

    def _tail(self, record: Record, start: int) -> list[int]:
        stage, number = record.steps[start].stage, record.steps[start].number
        found = [
            place
            for place, step in enumerate(record.steps)
            if step.stage == stage and step.number >= number and _is_for(step, self.platform)
        ]
        return sorted(found, key=lambda place: record.steps[place].number)

    def _never(self, step: Step, here: Sequence[Record]) -> Cause:
        """Why there is nothing to compare with."""
        if not self.earlier:
            return Cause("never-built", "never built here: this is the first build on record", LIKELY)
        if not here:
            known = self.earlier[0].builder
            return Cause(
                "never-built", f"never built by {self.record.builder}; the builds before were by {known}", LIKELY
            )
        same = [other for other in here if self._same_build(other)]
        if not same:
            return Cause(
                "never-built", "never built here: no earlier build of this Dockerfile and context is on record", LIKELY
            )
        if not any(self.platform in other.platforms for other in same):
            return Cause("never-built", f"never built for {self.platform}")
        if any(_has_stage(other, step.stage) for other in same):
            before, now = same[0].target, self.record.target
            if before == now and step.stage in (now, _last_stage(self.record), _last_stage(same[0])):
                return causes.added([step], LIKELY)
            if before != now:
                shown = f"--target was {before or 'not given'}, now {now or 'it is not given'}"
                return Cause("never-built", f"the stage {step.stage} was not built before: {shown}")
            return Cause("never-built", f"the stage {step.stage} was not needed before")
        return Cause("instruction", f"the stage {step.stage} is new", LIKELY, (f"+ {causes.first_line(step.text)}",))


def _at_once(record: Record, other: Record) -> bool:
    """Whether a build was still running when this one began."""
    try:
        began, before = (
            datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (record.started, other.started)
        )
        return (began - before).total_seconds() < other.seconds
    except (ValueError, TypeError):
        return False


def _has_stage(record: Record, name: str) -> bool:
    """Whether the Dockerfile of a record has a stage, built or not."""
    words = [line.split() for line in record.text.splitlines() if line.lstrip()[:5].upper() == "FROM "]
    names = {row[-1].lower() if len(row) > 3 and row[-2].upper() == "AS" else "" for row in words}
    number = name.removeprefix("stage-")
    return name in names or (number != name and number.isdigit() and int(number) < len(words))


def _last_stage(record: Record) -> str:
    rows = [line.split() for line in record.text.splitlines() if line.lstrip()[:5].upper() == "FROM "]
    if not rows or len(rows) == 1:
        return ""
    return rows[-1][-1].lower() if len(rows[-1]) > 3 and rows[-1][-2].upper() == "AS" else f"stage-{len(rows) - 1}"


def _distance(step: Step, old: Step) -> tuple[bool, bool, int]:
    """How little two steps have in common."""
    same_word = step.text.split(None, 1)[:1] == old.text.split(None, 1)[:1]
    differing = sum(step.parts.get(name) != old.parts.get(name) for name in step.parts.keys() | old.parts.keys())
    return (step.number != old.number, not same_word, differing + (step.files != old.files or step.files == UNKNOWN))
