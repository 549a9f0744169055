"""What BuildKit refuses only once it builds: values that make no sense, quotes and braces that are never closed.

The parser takes such an instruction for sound, and rules look at it as at any other. Values with variables are left
alone: whoever builds may give them any value. Triggers (ONBUILD) are not looked at before another build runs them.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Callable, Iterator

from buildopt.dockerfile.check import go_quote
from buildopt.dockerfile.model import Dockerfile, Flag, Instruction, SyntaxProblem, Word
from buildopt.dockerfile.words import NESTED_TOO_DEEPLY, Lexing, expand
from buildopt.source import Span

# A longer heredoc is not searched for braces: BuildKit's way of reading is slow in Python.
_MAX_BODY = 65536
_KEPT = Lexing(keep_unset=True)
_BODY = Lexing(keep_unset=True, plain_quotes=True)

_MOUNT_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_WITH_OWNER = ("cache", "secret", "ssh")
_BOOLEANS = frozenset(("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"))
_SIZE = re.compile(r"[0-9]+(?:\.[0-9]+)? ?(?:[kKmMgGtTpP]?(?:[iI]?[bB])?)?")
_NUMBER = 2**32

_GIT = re.compile(r"git://|ssh://|[a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:|https?://[^#?]*\.git(?:[#?]|\Z)")
_MODE_CLAUSE = r"[ugoa]*(?:[-+=][rwxXstugo]*)+"
_MODE = re.compile(rf"{_MODE_CLAUSE}(?:,{_MODE_CLAUSE})*")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_PLATFORM_PART = re.compile(r"[A-Za-z0-9_.-]+")
_OS_VERSION = re.compile(r"\([A-Za-z0-9_.-]*\)\Z")
# What may stand alone as a platform.
_PLATFORMS = frozenset(
    (
        *("aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "macos", "nacl"),
        *("netbsd", "openbsd", "plan9", "solaris", "wasi", "wasip1", "windows", "zos"),
        *("386", "aarch64", "amd64", "amd64p32", "arm", "arm64", "arm64be", "armbe", "armel", "armhf", "i386", "i686"),
        *("loong64", "mips", "mips64", "mips64le", "mips64p32", "mips64p32le", "mipsle", "ppc", "ppc64", "ppc64le"),
        *("riscv", "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm", "x86-64", "x86_64"),
    )
)
_SIGNALS = frozenset(
    (
        *("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE"),
        *("POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU"),
        *("URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"),
        *(f"RTMIN+{number}" for number in range(1, 16)),
        *(f"RTMAX-{number}" for number in range(1, 15)),
    )
)
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_Problem = tuple[Span, str]


def refusals(dockerfile: Dockerfile) -> Iterator[SyntaxProblem]:
    """The first thing that BuildKit would refuse in each sound instruction, in its words."""
    for instruction in dockerfile.instructions:
        if instruction.problems or instruction.keyword == "ONBUILD":
            continue
        found = next(_problems(instruction, dockerfile.escape), None)
        if found is not None:
            yield SyntaxProblem(*found)


def _problems(instruction: Instruction, escape: str) -> Iterator[_Problem]:
    yield from _expansions(instruction, escape)
    look = _LOOK.get(instruction.keyword)
    if look is not None:
        yield from look(instruction, escape)


def _expansions(instruction: Instruction, escape: str) -> Iterator[_Problem]:
    """Quotes and braces that are never closed, in everything that BuildKit expands."""
    for word in _expanded(instruction):
        if any(char in word.text for char in "'\"") or "${" in word.text:
            error = expand(word.text, {}, escape, _KEPT).error
            if error is not None and error != NESTED_TOO_DEEPLY:
                yield word.span, f"failed to process {go_quote(word.text)}: {error}"
    if instruction.keyword in ("COPY", "ADD"):
        for heredoc in instruction.heredocs:
            body = heredoc.body.text
            if heredoc.expand and "${" in body and len(body) <= _MAX_BODY:
                error = expand(body, {}, escape, _BODY).error
                if error is not None and error != NESTED_TOO_DEEPLY:
                    yield heredoc.operator, f"failed to process the body of {heredoc.name}: {error}"


def _expanded(instruction: Instruction) -> Iterator[Word]:
    keyword = instruction.keyword
    if keyword in ("ENV", "LABEL", "ARG"):
        for pair in instruction.pairs:
            if keyword != "ARG":
                yield pair.key
            if pair.value is not None:
                yield pair.value
    elif keyword in ("COPY", "ADD", "WORKDIR", "USER", "VOLUME", "STOPSIGNAL", "EXPOSE"):
        operators = [heredoc.operator for heredoc in instruction.heredocs]
        yield from (word for word in instruction.words if not any(word.span.overlaps(span) for span in operators))
        for flag in (*instruction.flags_named("chown"), *instruction.flags_named("chmod")):
            if flag.value is not None and flag.value_span is not None:
                yield Word(flag.value, flag.value_span)


def _run(instruction: Instruction, escape: str) -> Iterator[_Problem]:
    for flag in instruction.flags:
        if flag.name == "network" and flag.value not in ("default", "none", "host"):
            yield flag.span, f"invalid network mode {go_quote(flag.value or '')}"
        elif flag.name == "mount":
            message = _mount(flag.value or "")
            if message is not None:
                yield flag.span, message


def _mount(text: str) -> str | None:
    """What is wrong with the value of a ``--mount``."""
    try:
        fields = next(csv.reader([text], strict=True), None)
    except csv.Error:
        return None
    if not fields:
        return "failed to parse csv mounts: EOF"
    kind: str | None = "bind"  # None where a variable decides
    options: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        key = {"src": "source", "dst": "target", "destination": "target"}.get(key.lower(), key.lower())
        if key == "type" and equals:
            kind = None if "$" in value else value.lower()
            if kind is not None and kind not in _MOUNT_TYPES:
                return f"unsupported mount type {go_quote(value)}"
        message = _mount_option(key, value if equals else None, field, kind)
        if message is not None:
            return message
        options[key] = value
    return None if kind is None else _mount_as_a_whole(kind, options)


def _mount_option(key: str, value: str | None, field: str, kind: str | None) -> str | None:
    known = value is not None and "$" not in value
    if key in ("readonly", "ro", "readwrite", "rw", "required"):
        if key == "required" and kind not in ("secret", "ssh", None):
            return f"unexpected key 'required' for mount type '{kind}'"
        return f"invalid value for {key}: {value}" if known and value not in _BOOLEANS else None
    if value is None:
        return f"invalid field '{field}' must be a key=value pair"
    if key == "from":
        return None if known else "'from' doesn't support variable expansion, define alias stage instead"
    if key == "size":
        if kind not in ("tmpfs", None):
            return f"unexpected key 'size' for mount type '{kind}'"
        return f"invalid value for size: {value}" if known and not _SIZE.fullmatch(value) else None
    if key in ("mode", "uid", "gid"):
        return (
            f"invalid value {value} for {key}" if known and not _is_number(value, 8 if key == "mode" else 10) else None
        )
    if key == "sharing":
        good = value.lower() in ("shared", "private", "locked")
        return f"unsupported sharing value {go_quote(value)}" if known and not good else None
    if key not in ("type", "source", "target", "id", "env"):
        return f"unexpected key '{key}' in '{field}'"
    return None


def _mount_as_a_whole(kind: str, options: dict[str, str]) -> str | None:
    if kind not in _WITH_OWNER:
        for key in ("mode", "uid", "gid"):
            if key in options:
                return f'{key} not allowed for "{kind}" type mounts'
    if "sharing" in options and kind != "cache":
        return f"invalid cache sharing set for {kind} mount"
    if kind == "secret":
        if options.get("from"):
            return "secret mount should not have a from"
        if not (options.get("source") or options.get("target") or options.get("id")):
            return "invalid secret mount. one of source, target required"
        if options.get("source") and options.get("id"):
            return "both source and id can't be set"
    target = options.get("target", "")
    if kind in ("bind", "cache", "tmpfs") and target.startswith("/") and posixpath.normpath(target) in ("/", "//"):
        return 'invalid mount target "/"'
    return None


def _is_number(text: str, base: int) -> bool:
    digits = "01234567" if base == 8 else "0123456789"
    return 0 < len(text) < 40 and all(char in digits for char in text) and int(text, base) < _NUMBER


def _copy(instruction: Instruction, escape: str) -> Iterator[_Problem]:
    origin = instruction.flag("from")
    if origin is not None and "$" in (origin.value or ""):
        yield (
            origin.span,
            "variable expansion is not supported for --from, "
            "define a new stage with FROM using ARG from global scope as a workaround",
        )
    yield from _mode(instruction)
    operators = [heredoc.operator for heredoc in instruction.heredocs]
    for word in instruction.words[:-1]:
        if word.span in operators:
            continue
        text = expand(word.text, {}, escape, _KEPT).text
        if _GIT.match(text):
            yield word.span, "source can't be a git ref for COPY"
        elif text.startswith(("http://", "https://")):
            yield word.span, "source can't be a URL for COPY"


def _add(instruction: Instruction, escape: str) -> Iterator[_Problem]:
    yield from _mode(instruction)
    checksum = instruction.flag("checksum")
    value = (checksum.value if checksum is not None else None) or ""
    if checksum is not None and value.startswith("sha256:") and "$" not in value and not _SHA256.fullmatch(value):
        wrong = "format" if len(value) == len("sha256:") + 64 else "length"
        yield checksum.span, f"invalid checksum digest {wrong}"


def _mode(instruction: Instruction) -> Iterator[_Problem]:
    flag = instruction.flag("chmod")
    value = (flag.value if flag is not None else None) or ""
    if flag is None or not value or any(char in value for char in "$'\"\\"):
        return
    if value[0].isdecimal():
        if not (_is_number(value, 8) and int(value, 8) <= 0o7777):
            yield flag.span, f"invalid chmod parameter: '{value}'. it should be octal string and between 0 and 07777"
    elif not _MODE.fullmatch(value):
        yield flag.span, f"invalid chmod parameter: '{value}': invalid syntax"


def _expose(instruction: Instruction, escape: str) -> Iterator[_Problem]:
    """Ports that are none. Numbers that are merely too large are left to the rule for them."""
    for word in instruction.words:
        text = word.text if "$" in word.text else expand(word.text, {}, escape).text
        if "$" in text:
            continue
        port, _, protocol = text.partition("/")
        container = port.rpartition(":")[2]
        if not container:
            yield word.span, f"invalid port: {go_quote(text)}: no port specified"
        elif protocol and protocol.lower() not in ("tcp", "udp", "sctp"):
            yield word.span, f"invalid port: {go_quote(text)}: invalid proto: {protocol}"
        elif not re.fullmatch(r"\+?[0-9]+(?:-\+?[0-9]+)?", container) or _is_backwards(container):
            yield word.span, f"invalid containerPort: {container}"


def _is_backwards(ports: str) -> bool:
    first, dash, last = ports.partition("-")
    return bool(dash) and max(len(first), len(last)) < 10 and int(last) < int(first)


def _stopsignal(instruction: Instruction, escape: str) -> Iterator[_Problem]:
    word = instruction.words[0]
    if "$" in word.text:
        return
    text = expand(word.text, {}, escape).text
    if re.fullmatch(r"[-+]?[0-9]{1,18}", text):
        good = int(text) != 0
    else:
        good = text.upper().removeprefix("SIG") in _SIGNALS
    if not good:
        yield word.span, f"invalid signal: {text}"


def _healthcheck(instruction: Instruction, escape: str) -> Iterator[_Problem]:
    for flag in instruction.flags:
        seconds = _seconds(flag)
        if seconds is not None and seconds != 0 and seconds < 0.001:
            yield flag.span, f'Interval "{flag.name}" cannot be less than 1ms'


def _seconds(flag: Flag) -> float | None:
    if flag.name == "retries" or not flag.value:
        return None
    parts = _DURATION_PART.findall(flag.value)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) * (-1 if flag.value.startswith("-") else 1)


def _from(instruction: Instruction, escape: str) -> Iterator[_Problem]:
    flag = instruction.flag("platform")
    value = (flag.value if flag is not None else None) or ""
    if flag is None or not value or any(char in value for char in "$'\"\\"):
        return
    parts = value.split("/")
    plain = [_OS_VERSION.sub("", parts[0]), *parts[1:]]
    wrong = next((part for part in plain if not _PLATFORM_PART.fullmatch(part)), None)
    reason = ""
    if wrong is not None:
        reason = f'"{wrong}" is an invalid component of "{value}"'
    elif len(parts) > 3:
        reason = f'"{value}": cannot parse platform specifier'
    elif len(parts) == 1 and plain[0].lower() not in _PLATFORMS:
        reason = f'"{value}": unknown operating system or architecture'
    if reason:
        yield flag.span, f"failed to parse platform {value}: {reason}"


_LOOK: dict[str, Callable[[Instruction, str], Iterator[_Problem]]] = {
    "ADD": _add,
    "COPY": _copy,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "RUN": _run,
    "STOPSIGNAL": _stopsignal,
}
