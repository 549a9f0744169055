"""Which gates an artifact has to pass: flags and buildopt.yaml, as data."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from buildopt.build.plan import platform as whole_platform
from buildopt.build.plan import platforms as whole_platforms
from buildopt.errors import UsageError
from buildopt.gates.secret_values import masked
from buildopt.oci.gate_record import printable
from buildopt.settings import Gates, Settings, nearest, seconds, size

BUILT_IN = ("max-size", "non-root", "no-secrets", "labels", "attestations")
ALL = "all"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a gate: a line for a shell, or exactly these ``words``. ``folder`` is where a scan runs."""

    text: str
    folder: Path
    words: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The command for people and records: in one line, without secrets."""
        return printable(masked(" ".join(self.text.split())))


@dataclass(frozen=True, slots=True)
class GateFlags:
    """The flags of gates as they were typed. ``words`` are a command given word by word, after ``--``."""

    tests: tuple[str, ...] = ()
    scans: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    test_platforms: tuple[str, ...] = ()
    test_network: bool = False
    test_timeout: str | None = None
    scan_timeout: str | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GatePlan:
    """All gates of an artifact. ``platform`` narrows them to one platform; ``policy`` has the built-in ones."""

    tests: tuple[Command, ...] = ()
    scans: tuple[Command, ...] = ()
    policy: Gates = field(default_factory=Gates)
    platform: str | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to pass."""
        own = self.policy
        policy = own.max_size is not None or own.non_root or own.no_secrets or own.labels or own.attestations
        return not (self.tests or self.scans or policy)


def make(flags: GateFlags, settings: Settings, folder: Path, *, platform: str | None = None) -> GatePlan:
    """The gates of flags and of a configuration, both. ``folder`` is where typed scans run; configured ones run in the
    configuration's folder. Raises UsageError for what makes no sense."""
    configured = settings.gates
    tests = [Command(text, folder) for text in (*configured.test, *flags.tests)]
    if flags.words:
        line = flags.words[0] if len(flags.words) == 1 else shlex.join(flags.words)
        tests.append(Command(line, folder, flags.words if len(flags.words) > 1 else ()))
    scans = [Command(text, settings.folder.absolute()) for text in configured.scan]
    scans += [Command(text, folder) for text in flags.scans]
    for command in tests:
        _check(command, scan=False)
    for command in scans:
        _check(command, scan=True)
    policy = _typed(flags.gates, configured)
    policy = replace(
        policy,
        test_platforms=_platforms(flags.test_platforms or configured.test_platforms),
        test_network=flags.test_network or configured.test_network,
        test_timeout=_time(flags.test_timeout, "--test-timeout", configured.test_timeout),
        scan_timeout=_time(flags.scan_timeout, "--scan-timeout", configured.scan_timeout),
    )
    return GatePlan(
        tuple(dict.fromkeys(tests)),
        tuple(dict.fromkeys(scans)),
        policy,
        None if platform is None else whole_platform(platform),
    )


def _check(command: Command, *, scan: bool) -> None:
    if not command.text.strip():
        raise UsageError("a gate has no command", hint="such as --test '/app --version'")
    if "\0" in command.text:
        raise UsageError("a gate's command holds a NUL byte", hint="write it without")
    for name in re.findall(r"\{([a-z]+)\}", command.text) if scan else ():
        # Braces have other uses too: only what is all but a known name is taken for a slip.
        close = difflib.get_close_matches(name, PLACEHOLDERS, 1, 0.7)
        if close and name not in PLACEHOLDERS:
            raise UsageError(f"{command.shown}: {{{name}}} is not known", hint=f"did you mean {{{close[0]}}}?")


PLACEHOLDERS = ("oci", "tar", "digest", "platform")
"""What stands in a scan, in braces, for what the artifact is."""


def _time(typed: str | None, flag: str, configured: float) -> float:
    try:
        return configured if typed is None else seconds(typed)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}", hint=f"such as {flag} 90s") from error


def _platforms(words: Sequence[str]) -> tuple[str, ...]:
    if not words:
        return ()
    return (ALL,) if ALL in words else whole_platforms(words)


def _typed(words: Sequence[str], policy: Gates) -> Gates:
    """Built-in gates of a configuration, and those of ``--gate NAME[=VALUE]``."""
    for word in words:
        name, equals, value = word.partition("=")
        values = tuple(part.strip() for part in value.split(",") if part.strip())
        if name not in BUILT_IN:
            raise UsageError(f"--gate {word}: no such gate", hint=nearest(name, list(BUILT_IN)))
        if name in ("max-size", "labels", "attestations") and not values:
            example = {
                "max-size": "200MB",
                "labels": "org.opencontainers.image.source",
                "attestations": "provenance,sbom",
            }
            raise UsageError(f"--gate {name} needs a value", hint=f"such as --gate {name}={example[name]}")
        if name == "non-root" and equals:
            raise UsageError(f"--gate {word}: non-root takes no value", hint="write --gate non-root")
        try:
            policy = _with(policy, name, value, values)
        except ValueError as error:
            raise UsageError(f"--gate {name}: {error}", hint=f"such as --gate {name}=200MB") from error
    return policy


def _with(policy: Gates, name: str, value: str, values: tuple[str, ...]) -> Gates:
    if name == "max-size":
        return replace(policy, max_size=int(size(value)))
    if name == "non-root":
        return replace(policy, non_root=True)
    if name == "no-secrets":
        return replace(policy, no_secrets=True, allowed_secrets=(*policy.allowed_secrets, *values))
    if name == "labels":
        return replace(policy, labels=tuple(dict.fromkeys((*policy.labels, *values))))
    return replace(policy, attestations=tuple(dict.fromkeys((*policy.attestations, *values))))
