"""BuildKit's raw progress (``--progress=rawjson``) as events: steps, their log lines, transfers, messages.

buildx writes JSON objects, one a line, mixed with plain lines on the same stream. Reading is lenient: whatever is no
known JSON is a message; fields that are missing or odd are passed over. A build is never failed by its display.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

LOG_LINES = 50
"""How many of each step's last log lines are kept."""
MESSAGES = 200

# "[linux/amd64->arm64 build 2/10] RUN make": platform, stage and number, as far as there are any.
_NAME = re.compile(
    r"\[(?:(?P<platform>[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?)(?P<target>->\S+)? +)?(?:(?P<stage>[^\s\]/]+) +)?"
    r" *(?P<number>\d+)/(?P<total>\d+)\] (?P<text>.*)",
    re.DOTALL,
)
# BuildKit's own retries while it exports two platforms that share blobs.
_NOISE = re.compile(r"\(\*service\)\.Write failed: .*unavailable", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Step:
    """One vertex of the build as it stands. Times are seconds since 1970, None where not (yet) known.

    ``number`` is 0 for BuildKit's own steps; ``text`` is the instruction, or the whole name of such a step. A step may
    run in several stretches (a FROM is resolved, and fetched later): ``resumed`` is when the current one began,
    ``earlier`` how many seconds those before it took. ``inputs`` are the ids of the vertices that it is made from.
    """

    id: str
    name: str
    text: str
    platform: str = ""
    stage: str = ""
    number: int = 0
    total: int = 0
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""
    resumed: float | None = None
    earlier: float = 0.0
    inputs: tuple[str, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether this is an instruction that is either run or cached (FROM is neither)."""
        return self.number > 0 and not self.text.upper().startswith("FROM ")

    @property
    def reused(self) -> bool:
        """Whether its result came from the cache, or was not even needed because a later one did."""
        return self.cached or (self.started is None and self.completed is None)

    @property
    def failed(self) -> bool:
        """Whether it failed by itself, rather than being cancelled because another one did."""
        return bool(self.error) and not re.search(r"\bcontext canceled\b|^canceled$", self.error)

    @property
    def seconds(self) -> float:
        """How long it took, waiting between two stretches left out; 0 while it runs."""
        began = self.resumed or self.started
        return self.earlier + max(0.0, self.completed - began) if self.completed and began else 0.0


@dataclass(frozen=True, slots=True)
class Log:
    """One line that a step wrote."""

    step: Step
    text: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far a part of a step is, in bytes (``total`` 0: unknown)."""

    step: Step
    name: str
    current: int
    total: int
    done: bool


@dataclass(frozen=True, slots=True)
class Warn:
    """A remark of BuildKit about the Dockerfile."""

    text: str
    line: int
    url: str


Event = Step | Log | Transfer | Warn


def _as_is(text: str) -> str:
    return text


class Progress:
    """What is known of a running build. ``redact`` is applied to every text from outside."""

    def __init__(self, redact: Callable[[str], str] = _as_is) -> None:
        self.redact = redact
        self.steps: dict[str, Step] = {}
        self.logs: dict[str, deque[str]] = {}
        self.messages: deque[str] = deque(maxlen=MESSAGES)
        self._partial: dict[str, str] = {}

    @property
    def counted(self) -> list[Step]:
        """The instructions that count as run or cached."""
        return [step for step in self.steps.values() if step.counts]

    def feed(self, line: str) -> list[Event]:
        """Take one line and return what it says; nothing for noise."""
        line = line.rstrip("\r\n")
        document = _document(line)
        if document is None:
            self._keep(line)
            return []
        events: list[Event] = []
        for vertex in _objects(document, "vertexes"):
            events.extend(self._vertex(vertex))
        for status in _objects(document, "statuses"):
            events.extend(self._status(status))
        for log in _objects(document, "logs"):
            events.extend(self._log(log))
        for warning in _objects(document, "warnings"):
            events.append(self._warning(warning))
        return events

    def _keep(self, line: str) -> None:
        """A plain line of buildx, which may be an error."""
        text = clean(line)
        if text.strip() and not is_noise(text):
            self.messages.append(self.redact(text))

    def _vertex(self, vertex: dict[str, object]) -> Iterator[Event]:
        identity, name = _text(vertex, "digest"), _text(vertex, "name")
        if not identity:
            return
        before = self.steps.get(identity)
        step = before or self._named(identity, name)
        started, completed = _time(vertex.get("started")), _time(vertex.get("completed"))
        if started and step.completed and started >= step.completed:
            step = replace(step, resumed=started, earlier=step.seconds)
        step = replace(
            step,
            # Of several stretches: it began with the first and ended with the last.
            started=step.started or started,
            completed=completed if completed or started else step.completed,
            cached=step.cached or vertex.get("cached") is True,
            error=self.redact(clean(_text(vertex, "error"))) or step.error,
            inputs=_texts(vertex, "inputs") or step.inputs,
        )
        self.steps[identity] = step
        if step.completed:
            yield from self._flush(step)
        if step != before:
            yield step

    def _named(self, identity: str, name: str) -> Step:
        name = self.redact(clean(name))
        match = _NAME.fullmatch(name)
        if match is None:
            return Step(identity, name, name)
        return Step(
            identity,
            name,
            match["text"],
            match["platform"] or "",
            match["stage"] or "",
            int(match["number"]),
            int(match["total"]),
        )

    def _known(self, entry: dict[str, object]) -> Step:
        identity = _text(entry, "vertex")
        return self.steps.get(identity) or Step(identity, identity, identity)

    def _status(self, status: dict[str, object]) -> Iterator[Event]:
        name = self.redact(clean(_text(status, "id") or _text(status, "name")))
        current, total = _whole(status.get("current")), _whole(status.get("total"))
        yield Transfer(self._known(status), name, current, total, bool(status.get("completed")))

    def _log(self, log: dict[str, object]) -> Iterator[Event]:
        step = self._known(log)
        try:
            data = base64.b64decode(_text(log, "data"))
        except (binascii.Error, ValueError):
            return
        text = self._partial.pop(step.id, "") + data.decode("utf-8", "replace")
        *lines, rest = text.split("\n")
        if rest:
            self._partial[step.id] = rest
        yield from self._lines(step, lines)

    def _flush(self, step: Step) -> Iterator[Event]:
        rest = self._partial.pop(step.id, "")
        if rest:
            yield from self._lines(step, [rest])

    def _lines(self, step: Step, lines: Iterable[str]) -> Iterator[Event]:
        kept = self.logs.setdefault(step.id, deque(maxlen=LOG_LINES))
        for line in lines:
            # Of a line that a program drew again and again, the last state.
            text = self.redact(clean(line.rstrip("\r").rpartition("\r")[2])).rstrip()
            kept.append(text)
            yield Log(step, text)

    def _warning(self, warning: dict[str, object]) -> Warn:
        try:
            short = base64.b64decode(_text(warning, "short"), validate=True).decode()
        except (binascii.Error, ValueError):
            short = _text(warning, "short")
        line = 0
        for place in _objects(warning, "range"):
            start = place.get("start")
            line = line or (_whole(start.get("line")) if isinstance(start, dict) else 0)
        short = re.sub(r" \(line \d+\)$", "", clean(short)) if line else clean(short)
        return Warn(self.redact(short), line, _text(warning, "url"))


def is_noise(line: str) -> bool:
    """Whether a line is one of BuildKit's harmless retries."""
    return _NOISE.search(line) is not None


def clean(text: str) -> str:
    """A text without terminal control sequences."""
    return _ESCAPES.sub("", text)


def _document(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and document.keys() & {"vertexes", "statuses", "logs", "warnings"}:
        return document
    return None


def _objects(document: dict[str, object], key: str) -> list[dict[str, object]]:
    values = document.get(key)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _text(document: dict[str, object], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _texts(document: dict[str, object], key: str) -> tuple[str, ...]:
    values = document.get(key)
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?")


def _time(value: object) -> float | None:
    """Seconds since 1970 of a time as Go writes it (nanoseconds, which datetime does not read)."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(match[1] + (match[3] or "Z").replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.astimezone(timezone.utc).timestamp() + float(match[2] or 0)
