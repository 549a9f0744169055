"""RUN instructions as the passes see them, with the state that they run in."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from buildopt.dockerfile.managers import Manager, Use, recognise, word_set
from buildopt.dockerfile.model import Dockerfile, Instruction, Logical, Stage
from buildopt.dockerfile.passes.state import State, family, states
from buildopt.dockerfile.runs import without_data
from buildopt.dockerfile.scope import of_the_last_file
from buildopt.dockerfile.shell import Command, Script, parse_shell

SHELLS = frozenset(("sh", "bash", "ash", "dash", "zsh"))

# Programs that neither run a package manager nor a program of the user's.
HARMLESS = word_set(
    """[ [[ : . source a2dismod a2enconf a2enmod a2ensite addgroup adduser apk apt apt-get apt-key apt-mark arch
    awk basename bunzip2 bzip2 cat cd chgrp chmod chown chpasswd chsh cmp command cp curl cut date dd declare df
    diff dirname dos2unix dpkg dpkg-reconfigure du echo env exit expr export false file fc-cache find fold
    getent git gpasswd gpg gpgconf grep egrep fgrep groupadd groupdel groupmod gunzip gzip head hostname id install
    jq kill ldconfig ldd ln local locale-gen localedef ls lsb_release md5sum mkdir mknod mktemp
    mv nproc openssl passwd patch printf ps pwd read readlink realpath rename return rm rmdir rsync seq sed set
    setcap sha1sum sha256sum sha512sum shift shopt sleep sort split ssh-keygen ssh-keyscan stat strip sync tail tar tee
    test touch tr tree trap true type ulimit umask uname uniq unlink unset unxz unzip update-alternatives
    update-ca-certificates update-locale upx useradd userdel usermod wc wget which whoami xargs xz yes zip"""
)

# Scripts from the network that install a package source or a program and leave apt's folders alone.
KNOWN_SCRIPTS = (
    "deb.nodesource.com/",
    "rpm.nodesource.com/",
    "get.docker.com",
    "sh.rustup.rs",
    "bootstrap.pypa.io",
    "install.python-poetry.org",
    "raw.githubusercontent.com/nvm-sh/",
    "raw.githubusercontent.com/python-poetry/",
    "raw.githubusercontent.com/helm/",
    "raw.githubusercontent.com/golangci/",
    "get.sdkman.io",
    "astral.sh/uv",
    "get.pnpm.io",
    "bun.sh/install",
    "deno.land/",
    "aka.ms/InstallAzureCLIDeb",
)
_BUILD_SCRIPTS = frozenset(("configure", "config", "Configure", "autogen.sh", "buildconf", "bootstrap", "b2"))


@dataclass(frozen=True, slots=True)
class Run:
    """One RUN. ``script`` is None where the shell is not one that is understood; ``text`` is all that it says.

    ``logical`` ties offsets in the script to the source; ``found`` are the commands of package managers.
    ``base_platform`` is the ``--platform`` of the FROM that its chain of stages starts with, empty where there is none;
    ``base_text`` is what that FROM names, as written.
    """

    instruction: Instruction
    stage: Stage
    state: State
    logical: Logical | None
    script: Script | None
    text: str
    found: tuple[Use, ...] = ()
    base_platform: str = ""
    base_text: str = ""

    @property
    def line(self) -> int:
        """Its first line."""
        return self.instruction.lines[0]

    @property
    def commands(self) -> tuple[Command, ...]:
        """All its commands."""
        return self.script.commands if self.script is not None else ()

    def uses(self, manager: Manager) -> tuple[Use, ...]:
        """The commands of a manager in it, clean-ups and idle ones included."""
        return tuple(use for use in self.found if use.manager is manager)

    def needs(self, manager: Manager) -> tuple[Use, ...]:
        """The commands that fill or read the manager's cache."""
        return tuple(use for use in self.uses(manager) if use.uses_cache)


def is_shell(words: tuple[str, ...]) -> bool:
    """Whether a SHELL is one of the sh family, given its script with ``-c``."""
    return bool(words) and words[0].rsplit("/", 1)[-1] in SHELLS and any("c" in word for word in words[1:])


@of_the_last_file
def runs_by_family(dockerfile: Dockerfile) -> dict[int, list[Run]]:
    """The RUN instructions of each family of stages, in the order of the file."""
    known = states(dockerfile)
    found: dict[int, list[Run]] = {}
    for stage in dockerfile.stages:
        group = found.setdefault(family(dockerfile, stage), [])
        for instruction in stage.instructions:
            if instruction.keyword == "RUN":
                group.append(_run(dockerfile, stage, instruction, known[instruction.span.start]))
    return found


def _run(dockerfile: Dockerfile, stage: Stage, instruction: Instruction, state: State) -> Run:
    bodies = " ".join(heredoc.body.text for heredoc in instruction.heredocs)
    text = f"{instruction.arguments.text} {bodies}"
    logical, script = _script(dockerfile, instruction, state)
    commands = script.commands if script is not None else ()
    found = tuple(use for use in map(recognise, commands) if use is not None)
    root = dockerfile.stages[family(dockerfile, stage)]
    platform = root.platform.value or "" if root.platform is not None else ""
    base = root.image.text if root.image is not None else ""
    return Run(instruction, stage, state, logical, script, text, found, platform, base)


def _script(dockerfile: Dockerfile, instruction: Instruction, state: State) -> tuple[Logical | None, Script | None]:
    if instruction.exec_form:
        return None, parse_shell(shlex.join(instruction.values))
    logical = instruction.script(dockerfile.source)
    if logical is None or not is_shell(state.shell):
        return None, None
    first = logical.text.split("\n", 1)[0]
    if instruction.lone_heredoc is not None and first.startswith("#!") and not first.endswith(tuple(SHELLS)):
        return None, None
    whole = parse_shell(logical.text)
    # What stands in the heredoc of a command is data; the script is understood no less for it.
    return logical, replace(without_data(instruction, logical, whole), complete=whole.complete)


def runs_what_is_read(command: Command) -> bool:
    """Whether it is ``sh -c '…'`` with a literal script, whose commands were parsed with the rest."""
    if command.name not in SHELLS or not command.arguments or len(command.texts) != len(command.arguments):
        return False
    return any(text.startswith("-") and not text.startswith("--") and "c" in text for text in command.texts)


def script_run(command: Command, text: str) -> str | None:
    """The script that a command runs, by a name to show; None where it runs none (or one that is known).

    ``text`` is the whole RUN: a script that comes through a pipe is known by its address.
    """
    if not command.argv:
        return None
    raw = command.argv[0].raw
    name = command.name or raw
    if name in SHELLS:
        operands = [word for word in command.arguments if not (word.text or "$").startswith(("-", "+"))]
        if any(text.startswith("-") and not text.startswith("--") and "c" in text for text in command.texts):
            return None  # its script was parsed with the rest
        if any(host in text for host in KNOWN_SCRIPTS):
            return None
        return operands[0].raw if operands else f"what is piped into {name}"
    if name in _BUILD_SCRIPTS:
        return None
    if recognise(command) is not None:
        return None  # such as ./mvnw
    if name.endswith((".sh", ".bash")) or raw.startswith(("./", "../", "/tmp/", "scripts/", "bin/")):
        return raw
    return None
