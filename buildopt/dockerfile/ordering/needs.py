"""What an install of dependencies reads of a project, told by the project's own files."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass

from buildopt.dockerfile.installs import Install
from buildopt.dockerfile.ordering.copied_files import Tree, Unknown
from buildopt.dockerfile.ordering.stage_steps import Step
from buildopt.dockerfile.scope import Scope
from buildopt.dockerfile.shell import Command


@dataclass(frozen=True, slots=True)
class Question:
    """One install, the files that were copied before it, and whether what it leaves gets into an image.

    ``base`` is the image that the stage starts from, ``text`` all that the stage says, ``following`` what it runs
    behind the install.
    """

    install: Install
    folder: str
    tree: Tree
    scope: Scope
    ships: bool
    again: bool
    base: str
    text: str
    following: tuple[Command, ...] = ()

    def path(self, name: str) -> str:
        """A path in the install's folder."""
        return posixpath.normpath(posixpath.join(self.folder, name))

    def there(self, *names: str) -> tuple[str, ...]:
        """Those files of the install's folder that there are."""
        return tuple(self.path(name) for name in names if self.tree.is_file(self.path(name)))

    def has(self, *options: str) -> bool:
        """Whether the command has one of these options, be it with a value behind ``=``."""
        return any(text in options or text.partition("=")[0] in options for text in self.install.command.texts)

    def variable(self, name: str) -> str | None:
        """What the environment says, the command's own variables first; None where it is not set or not known."""
        for item in self.install.command.environment:
            if item.name == name:
                return item.value.text
        return self.scope.env.get(name)


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be there before the install, as paths of the image; a folder stands for all that is in it.

    ``makes``: what the install writes, so that the context must not bring it. ``options``: what the command must be
    given to do without the sources; it then runs ``again`` behind them, as it was. ``rewritten``: the lockfile that the
    install may write anew, so that the image then has the one of the sources instead.
    """

    files: tuple[str, ...]
    makes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    again: bool = False
    rewritten: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An install, the step that it stands in, and what it needs."""

    step: Step
    install: Install
    need: Needs


def needs(question: Question) -> Needs:
    """What an install needs. Raises Unknown, with the reason why it cannot come before the sources."""
    from buildopt.dockerfile.ordering import needs_node, needs_others, needs_python

    readers: dict[str, Callable[[Question], Needs]] = {
        **needs_node.READERS,
        **needs_python.READERS,
        **needs_others.READERS,
    }
    install = question.install
    if install.compiles:
        raise Unknown("it compiles the sources too, and no step without them is known to do the same")
    reader = readers.get(install.tool)
    if reader is None:
        raise Unknown(f"what {install.tool} reads is not known here")
    if any(word.text is None for word in install.command.words):
        unclear = next(word.raw for word in install.command.words if word.text is None)
        if "/" in unclear or install.tool == "pip":
            raise Unknown(f"what {unclear} stands for is not known")
    return reader(question)
