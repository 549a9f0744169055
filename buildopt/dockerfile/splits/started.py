"""What a container starts: the commands of ENTRYPOINT, CMD and the scripts of the context that they run."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from buildopt.dockerfile.model import DEFAULT_SHELL, Instruction
from buildopt.dockerfile.passes.runs import SHELLS
from buildopt.dockerfile.shell import Command, Word, parse_shell, unquote
from buildopt.dockerfile.splits.splits import No, Subject

_PASSED_ON = frozenset(('"$@"', "$@", '"${@}"', "${@}", "$*", '"$*"'))
_NAME = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# A script read from the image: its text, None where it is not one.
Reader = Callable[[str], "str | None"]


@dataclass(frozen=True, slots=True)
class Step:
    """One command that a container runs, and the folder it runs in; ``where`` names its place for a reader.

    ``by_shell``: a shell expands what it is given.
    """

    command: Command
    folder: str
    by_shell: bool
    instruction: Instruction

    @property
    def name(self) -> str:
        """The program without its folder; empty where it is not known."""
        return self.command.name or ""


@dataclass(frozen=True, slots=True)
class Start:
    """All that a container runs. ``scripts`` are the paths of scripts among it."""

    steps: tuple[Step, ...]
    scripts: tuple[str, ...]

    @property
    def text(self) -> str:
        """All words of it."""
        return " ".join(word.raw for step in self.steps for word in step.command.words)


def started(subject: Subject, read: Reader) -> Start:
    """What ENTRYPOINT and CMD start. Raises No where it cannot be read."""
    entry = subject.entry()
    if entry is None:
        raise No(subject.origin, "there is no CMD or ENTRYPOINT: the image may be meant for building in it")
    if subject.final.workdir is None:
        raise No(entry, "the working folder is not known")
    command = subject.last("CMD")
    words = _words(entry)
    if entry.keyword == "ENTRYPOINT" and entry.exec_form and command is not None:
        words += _words(command)
    reader = _Starts(subject, read, entry)
    reader.words(words, subject.final.workdir, depth=0)
    return Start(tuple(reader.steps), tuple(reader.scripts))


def checked(subject: Subject, read: Reader) -> Start:
    """What a health check runs; nothing where there is none. Raises No where it cannot be read."""
    check = subject.last("HEALTHCHECK")
    if check is None or check.command_word == "NONE":
        return Start((), ())
    reader = _Starts(subject, read, check)
    values = check.values[1:]
    words = values if check.exec_form else (*DEFAULT_SHELL, " ".join(values))
    reader.words(tuple(words), subject.final.workdir or "/", depth=0)
    return Start(tuple(reader.steps), tuple(reader.scripts))


def literal(word: Word, environment: Mapping[str, str | None]) -> str | None:
    """A word's value with known variables put in; None where one is not known."""
    if word.text is not None:
        return word.text
    unknown = False

    def value(match: re.Match[str]) -> str:
        nonlocal unknown
        found = environment.get(match.group(1) or match.group(2))
        unknown = unknown or found is None or not re.fullmatch(r"[\w./:=@%+,-]*", found)
        return found or ""

    text = unquote(_NAME.sub(value, word.raw))[0]
    return None if unknown else text


def _words(instruction: Instruction) -> tuple[str, ...]:
    if instruction.exec_form:
        return instruction.values
    return (*DEFAULT_SHELL, " ".join(instruction.values))


class _Starts:
    """Follows what is started from one command to the next."""

    def __init__(self, subject: Subject, read: Reader, instruction: Instruction) -> None:
        self.subject = subject
        self.read = read
        self.instruction = instruction
        self.steps: list[Step] = []
        self.scripts: list[str] = []

    def words(self, words: tuple[str, ...], folder: str, depth: int) -> None:
        """A program with its arguments, as the kernel gets them."""
        if not words or depth > 4:
            raise No(self.instruction, "what it starts is not known")
        name = posixpath.basename(words[0])
        if name in SHELLS and len(words) > 2 and re.fullmatch(r"-[a-z]*c", words[1]):
            self.script(words[2], words[3:], folder, depth)
            return
        if name in SHELLS and len(words) > 1 and not words[1].startswith("-"):
            self.file(words[1], words[2:], folder, depth)
            return
        path = self.place(words[0], folder)
        if path:
            self.file(path, words[1:], folder, depth)
            return
        for command in parse_shell(shlex.join(words)).commands:
            self.steps.append(Step(command, folder, False, self.instruction))

    def file(self, name: str, arguments: tuple[str, ...], folder: str, depth: int) -> None:
        """A script of the image."""
        if depth > 4:
            raise No(self.instruction, "what it starts is not known")
        path = posixpath.normpath(posixpath.join(folder, name))
        text = self.read(path)
        first = (text or "").split("\n", 1)[0]
        if text is None or (first.startswith("#!") and not re.search(r"\b(?:ba|da|a)?sh\b", first)):
            raise No(self.instruction, f"what {name} runs is not known")
        self.scripts.append(path)
        self.script(text.replace("\r\n", "\n"), arguments, folder, depth)
        if "--" in arguments:  # `wait-for-it.sh database:5432 -- program`
            self.words(arguments[arguments.index("--") + 1 :], folder, depth + 1)

    def script(self, text: str, arguments: tuple[str, ...], folder: str, depth: int) -> None:
        """A shell's text."""
        script = parse_shell(text)
        if not script.complete:
            raise No(self.instruction, "what it starts cannot be read to the end")
        for command in script.commands:
            if command.argv and command.argv[0].raw in _PASSED_ON:
                if arguments:
                    self.words(arguments, folder, depth + 1)
                continue
            target = literal(command.arguments[0], self.environment) if command.arguments else None
            if command.name == "cd":
                if target is None or len(command.arguments) != 1:
                    raise No(self.instruction, "the folder that it starts in is not known")
                folder = posixpath.normpath(posixpath.join(folder, target))
            elif command.name in (".", "source"):
                if target is None:
                    raise No(self.instruction, "which script it reads is not known")
                self.file(self.place(target, folder) or target, (), folder, depth + 1)
                continue
            elif command.name in SHELLS and target is not None and not target.startswith("-"):
                rest = [literal(word, self.environment) for word in command.arguments[1:]]
                self.file(target, tuple(word or "" for word in rest), folder, depth + 1)
                continue
            elif command.argv and self.place(command.argv[0].text or "", folder):
                rest = [literal(word, self.environment) for word in command.arguments]
                path = self.place(command.argv[0].text or "", folder)
                self.file(path, tuple(word or "" for word in rest), folder, depth + 1)
                continue
            self.steps.append(Step(command, folder, True, self.instruction))

    def place(self, name: str, folder: str) -> str:
        """The path of a script of the context that a name stands for; empty where it stands for none."""
        folders = [folder] if "/" in name else list(_FOLDERS)
        paths = (posixpath.normpath(posixpath.join(place, name)) for place in folders if name)
        return next((path for path in paths if self.read(path) is not None), "")

    @property
    def environment(self) -> Mapping[str, str | None]:
        """ENV at the end of the stage."""
        return self.subject.final.environment
