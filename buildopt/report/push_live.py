"""A push while it runs, for terminals: a bar a destination, and below it the blobs that are on their way.

What is shown is a pure function of the events, the time and the size of the terminal; only ``live_progress`` draws it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from buildopt.oci.descriptor import Digest
from buildopt.registry.outcome import Again, BlobDone, Done, Event, Moved, Noted, Started
from buildopt.registry.plan import PushPlan
from buildopt.report.text import counted, printable
from buildopt.report.units import human

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

WINDOW = 5.0
"""Seconds that a rate is the mean of."""
SAMPLE = 0.25
ROWS = 6
"""So many blobs are shown of a destination; the others are counted."""
_FIGURES = 36
"""The width of what stands behind a name: sizes, rate and time left."""


@dataclass(slots=True)
class _Flow:
    """Bytes over time. ``total`` is what is to be sent in all."""

    total: int
    moved: int = 0
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=int(WINDOW / SAMPLE)))

    def add(self, count: int, now: float) -> None:
        self.moved += count
        if not self.samples or now - self.samples[-1][0] >= SAMPLE:
            self.samples.append((now, self.moved))

    def rate(self, now: float) -> float:
        """Bytes a second of late; 0 where that is not known yet."""
        recent = [sample for sample in self.samples if now - sample[0] <= WINDOW]
        if not recent or now - recent[0][0] < SAMPLE:
            return 0.0
        return max(0.0, (self.moved - recent[0][1]) / (now - recent[0][0]))

    def figures(self, now: float) -> str:
        """``12.3 of 629.1 MB  45.6 MB/s    0:13``, always of the same width."""
        moved = min(max(self.moved, 0), self.total)
        rate, left = self.rate(now), self.total - moved
        done, whole = human(moved), human(self.total)
        if done.partition(" ")[2] == whole.partition(" ")[2]:
            done = done.partition(" ")[0]
        speed = f"{human(int(rate))}/s" if rate >= 1 and left else ""
        remaining = _clock(left / rate) if rate >= 1 and left else ""
        return f"{f'{done} of {whole}':>17} {speed:>10} {remaining:>7}"


@dataclass(slots=True)
class _Place:
    """A repository that is pushed to."""

    name: str
    flow: _Flow
    began: float
    blobs: dict[Digest, _Flow] = field(default_factory=dict)
    waiting: int = 0
    tags: int = 1
    good: int = 0
    bad: int = 0
    finished: float | None = None


class PushView:
    """What a push has come to; safe to be told of by many threads."""

    def __init__(self, plan: PushPlan, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sizes = {
            blob.digest: blob.size
            for blob in plan.image.blobs
            if blob.data is not None or plan.source.has(blob.digest)  # foreign layers may be elsewhere
        }
        self._names = {str(target.reference): target.reference.name for target in plan.targets}
        now = clock()
        self._places = {
            group[0].reference.name: _Place(group[0].reference.name, _Flow(0), now, tags=len(group))
            for group in plan.repositories
        }

    def told(self, event: Event) -> None:
        """Take note of an event."""
        now = self._clock()
        with self._lock:
            if isinstance(event, Done):
                self._done(self._places[self._names[event.outcome.reference]], event, now)
                return
            place = self._places[event.repository]
            if isinstance(event, Started):
                place.flow = _Flow(event.total)
                place.flow.add(0, now)
                place.waiting = len(self._sizes)
            elif isinstance(event, Moved):
                self._moved(place, event, now)
            elif isinstance(event, BlobDone):
                place.waiting = max(0, place.waiting - 1)
                blob = place.blobs.pop(event.digest, None)
                if event.how == "sent":  # some are sent without a word on the way
                    place.flow.add(event.size - (blob.moved if blob is not None else 0), now)
                else:  # only what is sent counts: a rate of what was there already would mislead
                    place.flow.total = max(0, place.flow.total - event.size)

    def _moved(self, place: _Place, event: Moved, now: float) -> None:
        place.flow.add(event.count, now)
        if event.digest is None:
            return
        if event.digest not in place.blobs:
            place.blobs[event.digest] = _Flow(self._sizes.get(event.digest, 0))
            place.blobs[event.digest].samples.append((now, 0))
        place.blobs[event.digest].add(event.count, now)

    def _done(self, place: _Place, event: Done, now: float) -> None:
        if event.outcome.ok:
            place.good += 1
        else:
            place.bad += 1
        if place.good + place.bad >= place.tags:
            place.finished = now
            place.blobs.clear()

    def lines(self, width: int, height: int) -> list[tuple[str, str]]:
        """The rows as they are now, each with what it is: ``active``, ``done``, ``failed``, ``blob`` or ``more``.

        At most ``height`` of them, and none wider than ``width``.
        """
        now = self._clock()
        with self._lock:
            # Those that still go on are never the ones that there is no room for.
            places = sorted(self._places.values(), key=lambda place: place.finished is not None)
            room = max(1, height)
            shown = places if len(places) <= room else places[: room - 1]
            active = [place for place in shown if place.blobs]
            spare = room - len(shown) - (len(places) > len(shown))
            longest = max([16, *(len(place.name) for place in shown)])
            rows: list[tuple[str, str]] = []
            for place in shown:
                rows.append(_place_row(place, width, longest, now))
                if place in active:
                    share = min(ROWS, spare // len(active))
                    blobs = _blob_rows(place, width, longest, share, now)
                    spare -= len(blobs)
                    active.remove(place)
                    rows += blobs
            if len(places) > len(shown):
                rows.append(("more", f"… and {counted(len(places) - len(shown), 'more destination')}"[:width]))
            return rows


def _place_row(place: _Place, width: int, longest: int, now: float) -> tuple[str, str]:
    flow = place.flow
    seconds = (place.finished if place.finished is not None else now) - place.began
    if place.finished is not None:
        word = "pushed" if not place.bad else "FAILED"
        text = f"{word}, {human(flow.moved)} sent" if flow.moved > 0 else word
        return (
            "done" if not place.bad else "failed",
            _row(place.name, f"{text}, {seconds:.1f} s", 1.0, width, longest),
        )
    if flow.total and flow.moved < flow.total:
        return ("active", _row(place.name, flow.figures(now), flow.moved / flow.total, width, longest))
    if place.blobs:
        word = "storing"
    elif place.waiting or not flow.samples:
        word = "looking"
    else:
        word = "manifests and tags"
    share = 0.0 if word == "looking" else 1.0
    return ("active", _row(place.name, f"{word} {seconds:.0f} s", share, width, longest))


def _blob_rows(place: _Place, width: int, longest: int, room: int, now: float) -> list[tuple[str, str]]:
    """The blobs that are on their way, the largest first, in at most ``room`` rows."""
    blobs = sorted(place.blobs.items(), key=lambda entry: -entry[1].total)
    if room <= 0 or not blobs:
        return []
    shown = blobs if len(blobs) <= room else blobs[: room - 1]
    rows = [
        (
            "blob",
            _row(
                f"  {digest.short}", flow.figures(now), flow.moved / flow.total if flow.total else 1.0, width, longest
            ),
        )
        for digest, flow in shown
    ]
    if len(blobs) > len(shown):
        left = sum(flow.total - flow.moved for _, flow in blobs[len(shown) :])
        rows.append(("more", f"  … {len(blobs) - len(shown)} more, {human(max(0, left))} left"[:width]))
    return rows


def _row(name: str, figures: str, share: float, width: int, longest: int) -> str:
    """Name, bar and figures in one line; the bar is left out where there is no room, a long name is shortened."""
    bar = 20 if width >= 100 else 12 if width >= 72 else 0
    room = min(longest, width - _FIGURES - 1 - (bar + 1 if bar else 0))
    if room < 8:  # very narrow
        words = figures.strip()
        return f"{shortened(name, max(1, width - 1 - len(words)))} {words}"[:width]
    drawn = [_drawn(share, bar)] if bar else []
    return " ".join([shortened(name, room).ljust(room), *drawn, figures.rjust(_FIGURES)])[:width].rstrip()


def _drawn(share: float, width: int) -> str:
    full = round(min(max(share, 0.0), 1.0) * width)
    return "━" * full + "╌" * (width - full)


def shortened(name: str, room: int) -> str:
    """A name in ``room`` characters: of a long one the end is kept, which tells it from others."""
    if len(name) <= room:
        return name
    lead = name[: len(name) - len(name.lstrip())]
    return f"{lead}…{name[len(name) - (room - 1 - len(lead)) :]}"[:room]


def _clock(seconds: float) -> str:
    whole = int(min(seconds, 359_999)) + 1
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


_STYLES: Mapping[str, str] = {"active": "bold", "done": "green", "failed": "red", "blob": "", "more": "dim"}


class _Drawing:
    """The view as rich draws it."""

    def __init__(self, view: PushView) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        # One line less than there are: a terminal that is full scrolls.
        for kind, text in self._view.lines(console.width, max(1, console.height - 1)):
            yield Text(text, _STYLES[kind], no_wrap=True, overflow="crop")


@contextmanager
def live_progress(plan: PushPlan, *, color: bool = True) -> Iterator[Callable[[Event], None]]:
    """Progress on a terminal (stderr): bars that move; retries and notes scroll by above them."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, highlight=False, no_color=not color)
    view = PushView(plan)
    with Live(_Drawing(view), console=console, refresh_per_second=8, transient=True):

        def show(event: Event) -> None:
            view.told(event)
            if isinstance(event, Again):
                console.print(Text(printable(f"{event.repository}: {event.message}; again in {event.seconds:.1f} s")))
            elif isinstance(event, Noted):
                console.print(Text(printable(f"{event.repository}: {event.message}")))

        yield show
