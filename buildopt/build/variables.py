"""The variables that hold at each instruction of one build: build arguments, platforms and defaults put in.

A variable whose name sounds secret, or whose value comes from such a one, is hidden: all that is told of it is a keyed
hash.
"""

from __future__ import annotations

import hmac
import platform as machine
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from buildopt.build.plan import sounds_secret
from buildopt.dockerfile.model import Dockerfile, Instruction
from buildopt.dockerfile.words import Lexing, expand
from buildopt.history.records import Variable

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
# Arguments that BuildKit keeps from RUN.
_NOT_IN_RUN = frozenset(("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"))
QUOTES_KEPT = Lexing(plain_quotes=True)


@dataclass(frozen=True, slots=True)
class Value:
    """A variable's real ``text``, and what may be told of it."""

    text: str
    told: Variable
    hidden: bool


@dataclass(frozen=True, slots=True)
class Outside:
    """What a build brings along: ``arguments`` given to it, the key for hashes, what blots secrets out of texts."""

    arguments: Mapping[str, str]
    salt: bytes
    redact: Callable[[str], str]

    def told(self, text: str, hidden: bool) -> str:
        """A value as it may be told."""
        if not hidden:
            return self.redact(text)
        return "#" + hmac.new(self.salt, text.encode("utf-8", "surrogateescape"), "sha256").hexdigest()[:16]

    def told_arguments(self) -> dict[str, str]:
        """The arguments as they may be told."""
        return {name: self.told(value, sounds_secret(name)) for name, value in sorted(self.arguments.items())}


@dataclass(slots=True)
class Scope:
    """The variables of a place. ENV hides ARG."""

    escape: str
    outside: Outside
    args: dict[str, Value] = field(default_factory=dict)
    env: dict[str, Value] = field(default_factory=dict)

    def copy(self) -> Scope:
        """The same, to be changed by itself."""
        return Scope(self.escape, self.outside, dict(self.args), dict(self.env))

    @property
    def all(self) -> dict[str, Value]:
        """Every variable that has a value."""
        return {**self.args, **self.env}

    def real(self, text: str) -> str:
        """A text with its variables' real values."""
        values = {name: value.text for name, value in self.all.items()}
        return self._expanded(text, values, None)[0]

    def told(self, text: str, lexing: Lexing | None = None) -> tuple[str, set[str]]:
        """A text as it may be told, and the variables in it."""
        values = {name: value.told.value if value.hidden else value.text for name, value in self.all.items()}
        expanded, used = self._expanded(text, values, lexing)
        return self.outside.redact(expanded), used

    def _expanded(self, text: str, values: Mapping[str, str], lexing: Lexing | None) -> tuple[str, set[str]]:
        if "$" not in text and lexing is not None:
            return text, set()
        escape = "\\" if lexing is not None else self.escape
        result = expand(text, values, escape, lexing or Lexing())
        return (text, set()) if result.error is not None else (result.text, set(result.used))

    def run(self) -> tuple[Variable, ...]:
        """What RUN sees."""
        return tuple(value.told for name, value in sorted(self.all.items()) if name not in _NOT_IN_RUN)

    def named(self, names: Iterable[str]) -> tuple[Variable, ...]:
        """Some of the variables."""
        values = self.all
        return tuple(values[name].told for name in sorted(set(names)) if name in values)

    def argument(self, instruction: Instruction, overall: Mapping[str, Value]) -> None:
        """What holds behind an ARG; ``overall`` are the values of those before the first FROM."""
        for pair in instruction.pairs:
            name = pair.key.text
            definition = masked(f"ARG {name}" + (f"={pair.value.text}" if pair.value else ""), name)
            line = instruction.lines[0]
            given = self.outside.arguments.get(name)
            if given is not None:
                self.args[name] = self.value("arg", name, given, definition, line, (name,))
            elif pair.value is not None:
                self.args[name] = self.defined("arg", name, pair.value.text, definition, line)
            elif name in overall:
                before = overall[name]
                self.args[name] = before
            else:
                self.args.pop(name, None)

    def environment(self, instruction: Instruction) -> None:
        """What holds behind an ENV: all of its values see the variables before it."""
        before = self.copy()
        for pair in instruction.pairs:
            if pair.value is not None:
                name = before.real(pair.key.text)
                definition = masked(f"ENV {name}={pair.value.text}", name)
                self.env[name] = before.defined("env", name, pair.value.text, definition, instruction.lines[0])

    def defined(self, kind: str, name: str, text: str, definition: str, line: int) -> Value:
        """A variable with the value that a text in the file gives it."""
        _, used = self.told(text)
        known = self.all
        arguments = tuple(sorted({root for other in used for root in known[other].told.arguments}))
        hidden = any(known[other].hidden for other in used)
        return self.value(kind, name, self.real(text), definition, line, arguments, hidden=hidden)

    def value(
        self,
        kind: str,
        name: str,
        text: str,
        definition: str,
        line: int,
        arguments: tuple[str, ...],
        hidden: bool = False,
    ) -> Value:
        """A variable with a value that is known."""
        hidden = hidden or sounds_secret(name)
        definition = self.outside.redact(definition)
        told = Variable(name, kind, self.outside.told(text, hidden), definition, line, arguments)
        return Value(text, told, hidden)


def masked(definition: str, name: str) -> str:
    """``ARG NAME=…`` without the value where the name sounds secret."""
    return definition.partition("=")[0] + "=***" if sounds_secret(name) and "=" in definition else definition


def overall(dockerfile: Dockerfile, outside: Outside, platform: str, native: str) -> Scope:
    """What FROM sees: the platforms' arguments, and the ARG before the first FROM."""
    scope = Scope(dockerfile.escape, outside)
    for side, name in (("BUILD", native), ("TARGET", platform)):
        system, _, rest = name.partition("/")
        architecture, _, variant = rest.partition("/")
        for part, text in (("PLATFORM", name), ("OS", system), ("ARCH", architecture), ("VARIANT", variant)):
            own = f"{side}{part}"
            scope.args[own] = scope.value("arg", own, outside.arguments.get(own, text), f"ARG {own}", 0, ())
    for instruction in dockerfile.global_args:
        if not instruction.problems:
            scope.argument(instruction, {})
    return scope


def native_platform() -> str:
    """This machine's own platform, as a guess at the engine's."""
    name = machine.machine().lower()
    return f"linux/{_ARCHITECTURES.get(name, name)}"
