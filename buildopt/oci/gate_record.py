"""What the gates said of an artifact: ``gates.json`` beside its index.json, or an entry of its tar.

The record speaks of one digest only. Beside an artifact of another digest it says nothing, as if it were not there. A
gate that began and of which no end is known counts as interrupted, so that a record that is written before the gates
run refuses by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from buildopt.errors import ArtifactError, GateError, UsageError
from buildopt.oci.descriptor import Digest, load_json, shown
from buildopt.oci.layout import ArtifactSource, Image

PASSED = "passed"
FAILED = "failed"
INTERRUPTED = "interrupted"
SKIPPED = "skipped"
RESULTS = (PASSED, FAILED, INTERRUPTED, SKIPPED)
KINDS = ("test", "scan", "built-in")
VERSION = 1
_AGAIN = "run the gates again: buildopt test --from-oci PATH; or push it as it is with --allow-ungated"


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate and what came of it.

    ``kind`` is one of KINDS, ``result`` one of RESULTS, ``platform`` the one that it is about (None: the whole image).
    ``reason`` says in a line why it did not pass, ``seconds`` how long it took (None: not known), ``output`` are the
    last lines of what it wrote.
    """

    name: str
    kind: str
    platform: str | None = None
    result: str = INTERRUPTED
    reason: str = ""
    seconds: float | None = None
    output: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name, with the platform where it has one."""
        return f"{self.name} ({self.platform})" if self.platform else self.name

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What makes it the same gate in two runs."""
        return self.kind, self.name, self.platform

    def document(self) -> dict[str, object]:
        """The gate as JSON has it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "platform": self.platform,
            "result": self.result,
            "reason": self.reason,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "output": list(self.output),
        }


@dataclass(frozen=True, slots=True)
class GateRecord:
    """The gates of the artifact with this ``digest``.

    ``replaced`` is the record of the artifact that is being replaced by this one: while index.json is switched, both
    are told of.
    """

    digest: str
    gates: tuple[GateResult, ...]
    replaced: GateRecord | None = None

    @property
    def verdict(self) -> str:
        """One of RESULTS: interrupted or failed where a gate is, skipped where none of them ran."""
        results = {gate.result for gate in self.gates}
        return next((word for word in (FAILED, INTERRUPTED, PASSED) if word in results), SKIPPED)

    @property
    def bad(self) -> tuple[GateResult, ...]:
        """The gates that keep it from being pushed."""
        return tuple(gate for gate in self.gates if gate.result in (FAILED, INTERRUPTED))

    def timeless(self) -> GateRecord:
        """Without what differs between two equal runs: times and output."""
        return GateRecord(self.digest, tuple(replace(gate, seconds=None, output=()) for gate in self.gates))

    def document(self) -> dict[str, object]:
        """The record as JSON has it."""
        found: dict[str, object] = {
            "version": VERSION,
            "digest": self.digest,
            "verdict": self.verdict,
            "gates": [gate.document() for gate in self.gates],
        }
        if self.replaced is not None:
            found["replaced"] = replace(self.replaced, replaced=None).document()
        return found

    def data(self) -> bytes:
        """The bytes of ``gates.json``."""
        return json.dumps(self.document(), indent=1, ensure_ascii=True).encode() + b"\n"


def parse(data: bytes) -> GateRecord:
    """Read ``gates.json``. Raises ArtifactError where it is damaged or of a later version."""
    return _record(load_json(data, "gates.json"))


def announced(before: bytes | None, digest: str, gates: tuple[GateResult, ...]) -> GateRecord:
    """The record of gates that are going to run. ``before`` is the file that it replaces: while index.json still names
    another image, what is known of that one must not get lost."""
    old = _readable(before)
    return GateRecord(digest, gates, None if old is None or old.digest == digest else old)


def stale(data: bytes | None, digest: str, *, changed: bool) -> bool:
    """Whether a record speaks of another image only. A damaged one may have refused the image that was there before:
    it stays, unless the image has ``changed``."""
    record = _readable(data)
    return data is not None and (changed if record is None else record.digest != digest)


def _readable(data: bytes | None) -> GateRecord | None:
    try:
        return None if data is None else parse(data)
    except ArtifactError:
        return None


def of(source: ArtifactSource, image: Image) -> GateRecord | None:
    """The record that speaks of this very image. Raises ArtifactError where there is one that cannot be read."""
    data = source.gates()
    if data is None:
        return None
    found: GateRecord | None = parse(data)
    while found is not None and found.digest != str(image.digest):
        found = found.replaced
    return found


def check(source: ArtifactSource, image: Image, *, allow: bool = False, require: bool = False) -> GateRecord | None:
    """Whether an artifact may be pushed; its record, if there is one.

    ``allow`` pushes whatever the gates said, ``require`` only what has passed them. Raises GateError where it may not
    be pushed, UsageError where both are asked for.
    """
    if allow and require:
        raise UsageError("--allow-ungated and --require-gates exclude each other", hint="leave out one of them")
    try:
        record = of(source, image)
    except ArtifactError as error:
        if allow:
            return None
        raise GateError(f"the record of the gates at {source.path} is damaged: {error.message}", hint=_AGAIN) from error
    if allow:
        return record
    if record is not None and record.bad:
        raise _refused(source, record)
    if require and (record is None or record.verdict != PASSED):
        what = "no gates have run on it" if record is None else "all its gates were skipped"
        raise GateError(
            f"{source.path} ({image.digest}) is not gated: {what}",
            hint="run gates on it (buildopt test --from-oci PATH), or leave out --require-gates",
        )
    return record


def _refused(source: ArtifactSource, record: GateRecord) -> GateError:
    first, several = record.bad[0], len(record.bad) > 1
    what = "failed" if first.result == FAILED else "did not run to its end"
    more = f", and {len(record.bad) - 1} more" if several else ""
    return GateError(
        f"{source.path} is not pushed: the gate {first.label} {what}{more}",
        hint=_AGAIN,
        detail=[f"{gate.label}: {gate.result}{f': {gate.reason}' if gate.reason else ''}" for gate in record.bad[:10]],
    )


def _record(document: Mapping[str, object], *, inner: bool = False) -> GateRecord:
    if document.get("version") != VERSION:
        raise _damaged(f"version {shown(document.get('version'))}; {VERSION} is known")
    gates = document.get("gates")
    if not isinstance(gates, list):
        raise _damaged("gates is not a list")
    replaced = document.get("replaced")
    if replaced is not None and (inner or not isinstance(replaced, dict)):
        raise _damaged("replaced is not a record")
    digest = document.get("digest")
    record = GateRecord(
        str(Digest.parse(digest)),
        tuple(_gate(gate) for gate in gates),
        _record(replaced, inner=True) if isinstance(replaced, dict) else None,
    )
    if document.get("verdict") != record.verdict:
        raise _damaged("its verdict is not that of its gates")
    return record


def _gate(value: object) -> GateResult:
    if not isinstance(value, dict):
        raise _damaged("a gate is not an object")
    texts = {key: value.get(key) for key in ("name", "kind", "result", "reason")}
    platform, seconds, output = value.get("platform"), value.get("seconds"), value.get("output")
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(platform, str | None):
        raise _damaged("a gate has no name, kind, result or reason")
    if texts["kind"] not in KINDS or texts["result"] not in RESULTS:
        raise _damaged(f"a gate is {shown(texts['kind'])} and {shown(texts['result'])}")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | None):
        raise _damaged("a gate's seconds are no number")
    if not isinstance(output, list) or not all(isinstance(line, str) for line in output):
        raise _damaged("a gate's output is not a list of lines")
    return GateResult(
        printable(str(texts["name"])),
        str(texts["kind"]),
        None if platform is None else printable(platform),
        str(texts["result"]),
        printable(str(texts["reason"])),
        seconds,
        tuple(printable(line) for line in output),
    )


def printable(text: str) -> str:
    """A text from outside without what would steer a terminal: control characters and line ends become spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _damaged(problem: str) -> ArtifactError:
    return ArtifactError(f"gates.json: {problem}", hint=_AGAIN)
