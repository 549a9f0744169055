"""What is in force at each instruction: user, home, environment, shell, working folder.

What a file does not settle is None: a pass that needs it refuses.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from buildopt.dockerfile.model import DEFAULT_SHELL, Dockerfile, Instruction, Stage
from buildopt.dockerfile.passes.accounts import Account, accounts
from buildopt.dockerfile.passes.images import Image, image
from buildopt.dockerfile.scope import of_the_last_file
from buildopt.dockerfile.words import expand

_VARIABLE = re.compile(r"\$(?:\{)?([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class State:
    """``environment`` holds ENV as far as it is literal (None where it is not), ``arguments`` the names of ARGs.

    ``user`` is as written (``root`` where the base is known to start so), ``uid`` its number where known. ``accounts``
    are the users that the file makes with a number.
    """

    base: Image
    user: str | None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    arguments: Mapping[str, str | None] = field(default_factory=dict)
    shell: tuple[str, ...] = DEFAULT_SHELL
    workdir: str | None = None
    accounts: tuple[Account, ...] = ()

    @property
    def root(self) -> bool:
        """Whether it is known that commands run as root."""
        return self.user is not None and self.user.split(":")[0] in ("root", "0")

    @property
    def account(self) -> Account | None:
        """Who commands run as, where number and home folder are known; root, too, has one."""
        if self.root:
            return Account("root", 0, "/root")
        name = (self.user or "").split(":")[0]
        known = (*self.accounts, *self.base.accounts)
        return next((account for account in known if name in (account.name, str(account.uid))), None)

    @property
    def uid(self) -> int | None:
        """The user's number, where it is known."""
        account = self.account
        if account is not None:
            return account.uid
        number = (self.user or "").split(":")[0]
        return int(number) if number.isdigit() else None

    @property
    def home(self) -> str | None:
        """The user's home folder, where it is known."""
        if "HOME" in self.environment:
            return self.environment["HOME"]
        if "HOME" in self.arguments or self.base.sets_home:
            return None
        return self.account.home if self.account is not None else None

    def variable(self, name: str) -> str | None:
        """What ENV of the file, or else of a base that is known, says a variable holds; None where nobody tells."""
        if name in self.environment:
            return self.environment[name]
        return None if name in self.arguments else self.base.environment.get(name)

    @property
    def variables(self) -> dict[str, str]:
        """All variables whose values are known."""
        names = {*self.environment, *self.base.environment}
        return {name: value for name in names if (value := self.variable(name)) is not None}

    def value(self, text: str, escape: str) -> str | None:
        """``text`` with ENV and ARG put in; None where one of them is not known."""
        variables = {**self.arguments, **self.environment}
        for name in _VARIABLE.findall(text):
            if variables.get(name) is None:
                return None
        expansion = expand(text, {name: value for name, value in variables.items() if value is not None}, escape)
        return expansion.text


def base_reference(dockerfile: Dockerfile, stage: Stage) -> str:
    """The image that a stage's chain starts from, defaults of global ARGs put in."""
    while stage.base_index is not None:
        stage = dockerfile.stages[stage.base_index]
    if stage.image is None:
        return ""
    defaults = {
        pair.key.text: pair.value.text.strip("\"'")
        for argument in dockerfile.global_args
        for pair in argument.pairs
        if pair.value is not None
    }
    return expand(stage.image.text, defaults, dockerfile.escape).text


@of_the_last_file
def states(dockerfile: Dockerfile) -> dict[int, State]:
    """The state before each instruction of each stage, by the instruction's offset; -1 - index: at a stage's end."""
    return states_on(dockerfile, {})


def states_on(dockerfile: Dockerfile, environment: Mapping[str, str | None]) -> dict[int, State]:
    """The same, where the base images are known to set these variables."""
    found: dict[int, State] = {}
    for stage in dockerfile.stages:
        if stage.base_index is not None:
            state = found[-1 - stage.base_index]  # its ARG too
        else:
            base = image(base_reference(dockerfile, stage))
            state = State(base, "root" if base.runs_as_root else None, environment, workdir=base.folder or "/")
        for instruction in stage.instructions:
            found[instruction.span.start] = state
            state = _after(state, instruction, dockerfile.escape)
        found[-1 - stage.index] = state
    return found


def _after(state: State, instruction: Instruction, escape: str) -> State:
    keyword = instruction.keyword
    if keyword == "ENV":
        environment = dict(state.environment)
        for pair in instruction.pairs:
            environment[pair.key.text] = None if pair.value is None else state.value(pair.value.text, escape)
        return replace(state, environment=environment)
    if keyword == "ARG":
        arguments = dict(state.arguments)
        for pair in instruction.pairs:
            # A build argument is given on the command line: its default says nothing certain.
            arguments[pair.key.text] = None
        return replace(state, arguments=arguments)
    if keyword == "USER" and instruction.words:
        return replace(state, user=state.value(instruction.arguments.text, escape))
    if keyword == "RUN":
        made = tuple(accounts(instruction.arguments.text))
        return replace(state, accounts=state.accounts + made) if made else state
    if keyword == "SHELL":
        return replace(state, shell=tuple(word.text for word in instruction.words))
    if keyword == "WORKDIR":
        text = state.value(instruction.arguments.text, escape)
        workdir = posixpath.normpath(posixpath.join(state.workdir, text)) if text and state.workdir else None
        return replace(state, workdir=text if text and text.startswith("/") and workdir is None else workdir)
    return state


def family(dockerfile: Dockerfile, stage: Stage) -> int:
    """The index of the stage that a stage's chain starts with: stages of one family see each other's files."""
    while stage.base_index is not None:
        stage = dockerfile.stages[stage.base_index]
    return stage.index
