"""A build while it runs: rows and bars on a terminal, plain lines elsewhere, or BuildKit's own raw JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from buildopt.build.progress import Event, Log, Step, Transfer, Warn, is_noise
from buildopt.report.units import human

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.progress_bar import ProgressBar
    from rich.table import Table

WIDTH = 100
# Steps of BuildKit itself are told of only where they take this long (seconds).
SLOW = 1.0


class View(AbstractContextManager["View"], Protocol):
    """Watches a build; see ``buildopt.build.buildx.View``. Used in a ``with`` block."""

    def line(self, line: str) -> None: ...

    def event(self, event: Event) -> None: ...


class Quiet:
    """Shows nothing."""

    def line(self, line: str) -> None:
        """Nothing."""

    def event(self, event: Event) -> None:
        """Nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class RawJson(Quiet):
    """Passes BuildKit's lines on as they are, without its noise. ``write`` takes a line with its end."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write

    def line(self, line: str) -> None:
        """Pass it on."""
        if line.startswith("{") or not is_noise(line):
            self.write(line)


class Plain(Quiet):
    """One line for whatever happens: readable in a log, and in the order in which it happened.

    Every step is announced once and finished once, though BuildKit starts and ends some of them several times: that one
    has ended is told when a later step of its stage goes on, after ``SLOW`` seconds, or at the end of the build. Steps
    that BuildKit calls alike (the same one for two platforms) are told apart by a number.
    ``write`` takes a line without its end; ``shown`` is the Dockerfile as the user knows it; ``internal`` tells of
    BuildKit's own quick steps too.
    """

    def __init__(self, write: Callable[[str], object], shown: str = "Dockerfile", *, internal: bool = False) -> None:
        self.write = write
        self.shown = shown
        self.internal = internal
        self._told: dict[str, str] = {}
        self._ended: dict[str, tuple[Step, float]] = {}
        self._warned: set[Warn] = set()
        self._alike: dict[str, list[str]] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish(lambda step, since: True)

    def event(self, event: Event) -> None:
        """Say it."""
        now = time.monotonic()
        self._finish(lambda step, since: now - since > SLOW and not _base(step))
        if isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Log):
            self.write(f"       {where(event.step)}{self._which(event.step)} | {event.text}")
        elif isinstance(event, Warn) and event not in self._warned:
            self._warned.add(event)
            self.write(f"note   {remark(event, self.shown)}")

    def _step(self, step: Step) -> None:
        state, told = state_of(step), self._told.get(step.id)
        if told in ("done", "cached", "failed") or (told == state and state != "run"):
            return
        if step.number == 0 and not _worth_telling(step, state, self.internal):
            return
        self._ended.pop(step.id, None)
        if state in ("run", "done") and told is None:
            self._finish(lambda other, since: _before(other, step))
            if step.number or state == "run":
                self.write(f"run    {self._title(step)}")
            self._told[step.id] = "run"
        if state == "done":
            self._ended[step.id] = (step, time.monotonic())
        elif state in ("cached", "failed"):
            self._finish(lambda other, since: state == "failed" or _before(other, step))
            self._told[step.id] = state
            self.write(f"{state:6} {self._title(step)}")

    def _finish(self, due: Callable[[Step, float], bool]) -> None:
        """Say of the steps that have ended, and are ``due``, that they have."""
        for step, since in list(self._ended.values()):
            if due(step, since):
                del self._ended[step.id]
                self._told[step.id] = "done"
                name = f"{where(step)}{self._which(step)}" if step.number else title(step)
                self.write(f"done   {name} ({step.seconds:.1f} s)")

    def _title(self, step: Step) -> str:
        return f"{title(step)}{self._which(step)}"

    def _which(self, step: Step) -> str:
        """`` #2`` for the second step of that name."""
        alike = self._alike.setdefault(step.name, [])
        if step.id not in alike:
            alike.append(step.id)
        number = alike.index(step.id) + 1
        return f" #{number}" if number > 1 and step.number else ""


def _base(step: Step) -> bool:
    return step.text[:5].upper() == "FROM "


def _before(one: Step, other: Step) -> bool:
    """Whether one step has to be over where another one of its stage has started."""
    alike = one.stage == other.stage and (one.platform == other.platform or not other.platform)
    return alike and 0 < one.number < other.number


def _worth_telling(step: Step, state: str, everything: bool = False) -> bool:
    """Of BuildKit's own steps: failures, and what took long."""
    return state == "failed" or (state == "done" and (everything or step.seconds >= SLOW))


def remark(warning: Warn, shown: str) -> str:
    """BuildKit's remark with its place in the user's Dockerfile."""
    return f"{shown}{f':{warning.line}' if warning.line else ''}: {warning.text}"


def state_of(step: Step) -> str:
    """``waiting``, ``run``, ``cached``, ``done``, ``failed`` or ``canceled``."""
    if step.error:
        return "failed" if step.failed else "canceled"
    if step.completed is not None:
        return "cached" if step.cached else "done"
    return "run" if step.started is not None and not step.cached else "waiting"


def where(step: Step) -> str:
    """Platform, stage and number of a step, as far as it has them."""
    number = f"{step.number}/{step.total}" if step.number else ""
    return " ".join(part for part in (step.platform, step.stage, number) if part) or "buildkit"


def title(step: Step, width: int = WIDTH) -> str:
    """A step in one line."""
    text = " ".join(step.text.split())
    line = f"{where(step)} {text}" if step.number else text
    return line if len(line) <= width else f"{line[: width - 1]}…"


@dataclass(slots=True)
class _Row:
    """A running step: what was transferred by name, and its last log line."""

    step: Step
    since: float
    last: str = ""
    transfers: dict[str, Transfer] = field(default_factory=dict)

    def totals(self) -> tuple[int, int]:
        """Bytes so far and bytes in all (0: unknown)."""
        known = [transfer for transfer in self.transfers.values() if transfer.total]
        if known:
            done = sum(entry.total if entry.done else min(entry.current, entry.total) for entry in known)
            return done, sum(entry.total for entry in known)
        return sum(transfer.current for transfer in self.transfers.values()), 0


class Rich(Quiet):
    """Finished steps scroll by; below them a row for each running one, with its platform, time and a bar.

    ``received`` tells how many bytes of the image have come, for BuildKit does not.
    """

    def __init__(self, console: Console, shown: str = "Dockerfile", received: Callable[[], int] | None = None) -> None:
        from rich.live import Live

        self.console = console
        self.shown = shown
        self.received = received
        self.rows: dict[str, _Row] = {}
        self.steps: dict[str, Step] = {}
        self.held: dict[str, Step] = {}
        self.warned: set[Warn] = set()
        self.began = time.monotonic()
        self.live = Live(self, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Rich:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for step in self.held.values():
            self._say(f"{step.seconds:5.1f}s", "green", title(step, self.console.width - 8))
        self.live.stop()

    def event(self, event: Event) -> None:
        """Change the rows; what is finished is printed above them."""
        if isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Log):
            if event.step.id in self.rows and event.text.strip():
                self.rows[event.step.id].last = event.text
        elif isinstance(event, Transfer):
            if event.step.id in self.rows:
                self.rows[event.step.id].transfers[event.name] = event
        elif isinstance(event, Warn) and event not in self.warned:
            self.warned.add(event)
            self._say("note", "yellow", remark(event, self.shown), wrap=True)

    def _step(self, step: Step) -> None:
        before = state_of(self.steps[step.id]) if step.id in self.steps else "waiting"
        self.steps[step.id] = step
        state = state_of(step)
        if state == "run":
            row = self.rows.setdefault(step.id, _Row(step, time.monotonic()))
            row.step = step
            return
        self.rows.pop(step.id, None)
        if state == before or (step.number == 0 and not _worth_telling(step, state)):
            return
        if state == "cached":
            self._say("cached", "cyan", title(step, self.console.width - 8))
        elif state == "done" and (_base(step) or step.number == 0):
            self.held[step.id] = step  # BuildKit ends these several times: said once, when all is over
        elif state == "done":
            self._say(f"{step.seconds:5.1f}s", "green", title(step, self.console.width - 8))
        elif state == "failed":
            self._say("failed", "red", title(step, self.console.width - 8))

    def _say(self, word: str, style: str, text: str, *, wrap: bool = False) -> None:
        from rich.text import Text

        self.console.print(Text.assemble((f"{word:>6}", style), " ", text), no_wrap=not wrap)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table()

    def table(self) -> Table:
        """The rows as they are now."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=6, justify="right", no_wrap=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(width=24, no_wrap=True, justify="right")
        now = time.monotonic()
        for row in list(self.rows.values()):
            current, total = row.totals()
            if self.received is not None and not total and row.step.name.startswith("exporting to oci"):
                current = self.received()
            table.add_row(f"{now - row.since:.1f}s", Text(title(row.step, 500)), _bar(current, total))
            if row.last:
                table.add_row("", Text(f"  {row.last}", "dim"), "")
        counted = [step for step in list(self.steps.values()) if step.counts]
        done = sum(step.completed is not None for step in counted)
        cached = sum(step.cached for step in counted)
        table.add_row(
            Text(f"{now - self.began:.0f}s", "bold"),
            Text(f"{done} of {len(counted)} steps done, {cached} cached", "bold"),
            "",
        )
        return table


def _bar(current: int, total: int) -> ProgressBar | str:
    from rich.progress_bar import ProgressBar

    if total > 0:
        return ProgressBar(total=total, completed=current, width=24)
    return human(current) if current > 0 else ""


def choose(name: str, *, terminal: bool, environment: Mapping[str, str]) -> str:
    """What ``auto`` means: ``rich`` on a terminal that can move its cursor, else ``plain``."""
    if name != "auto":
        return name
    return "rich" if terminal and environment.get("TERM") != "dumb" and not environment.get("CI") else "plain"
