"""Commands between the sources and an install that need the sources, but that the install knows nothing of."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.installs import with_folders
from buildopt.dockerfile.ordering.copied_files import Tree
from buildopt.dockerfile.ordering.without_sources import DEEP
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Command, Word

# For each command, how many operands come before those that are files.
_ON_FILES = {
    **dict.fromkeys(("chmod", "chown", "chgrp", "sed"), 1),
    **dict.fromkeys(("cp", "mv", "touch", "dos2unix", "rm", "cat", "ls", "mkdir"), 0),
}
_PLAIN_OPTIONS = re.compile(r"-[finpvx]+|--verbose|--force|--no-clobber|-i\.\w+|-r\b")
# What an install, or a program that it starts, may look for in the folder of a project.
_LOOKED_FOR = re.compile(
    r"(?i)\.(?:npm|yarn|pnp|git|bundle|netrc|python|ruby|tool|node|docker|env).*|package.*\.json|npm-.*|(?:pnpm|yarn|bun).*|"
    r"(?:lerna|nx|tsconfig.*|global|auth|composer|symfony)\.(?:json|lock)|(?:require|constraint).*|setup\.(?:py|cfg)|"
    r"pip.*|nuget\.config|gem.*|go\.(?:mod|sum|work)|cargo.*|prisma.*|binding\.gyp|"
    r".*\.(?:lock|toml|\w+proj|sln|gemspec|gradle|props|targets|patch|prisma|tgz|whl|npmrc)"
)


@dataclass(frozen=True, slots=True)
class Followers:
    """The files that sources bring, those that are copied first, and the places that the install may write to."""

    sources: Tree
    first: Collection[str]
    regions: Sequence[str]
    makes: Sequence[str]
    prisma: bool

    def written(self, run: Run) -> frozenset[str] | None:
        """The names that a RUN speaks of where it may run behind the install, None where it may not."""
        if run.instruction.flags or run.instruction.heredocs or not run.script.complete:
            return None
        names: set[str] = set()
        for command, folder in with_folders(run):
            found = self._names(command, folder)
            if found is None:
                return None
            names.update(found)
        return frozenset(names)

    def _names(self, command: Command, folder: str | None) -> set[str] | None:
        skipped = _ON_FILES.get(command.name or "")
        if skipped is None or command.assignments or command.context or command.wrappers or folder is None:
            return None
        if any(item.target is None or item.target.text != "/dev/null" for item in command.redirects):
            return None
        options = [word for word in command.arguments if (word.text or "").startswith("-") and word.text != "-"]
        deep = [word for word in options if command.name in ("chmod", "chown", "chgrp") and word.text in DEEP]
        if any(_PLAIN_OPTIONS.fullmatch(word.text or "") is None for word in options if word not in deep):
            return None
        if command.name == "sed" and not any((word.text or "").startswith("-i") for word in options):
            return None
        if "-r" in command.texts and command.name not in ("cp", "rm", "sed"):
            return None
        operands = [word for word in command.arguments if word not in options]
        if len(operands) <= skipped or any(word.text is None for word in operands[:skipped]):
            return None
        names: set[str] = set()
        for word in operands[skipped:]:
            name = self._name(word, folder)
            path = posixpath.normpath(posixpath.join(folder, word.text or ""))
            if name is None or (deep and any(f"{place}/".startswith(f"{path}/") for place in self.makes)):
                return None
            names.add(name)
        return names

    def _name(self, word: Word, folder: str) -> str | None:
        """The name of a file among the sources that no install looks at."""
        if word.text is None or word.glob or not word.text or word.text.startswith("~"):
            return None
        path = posixpath.normpath(posixpath.join(folder, word.text))
        inside = any(path.startswith(f"{region.rstrip('/')}/") for region in self.regions if region != "/")
        if not inside or any(path == place or place.startswith(f"{path}/") for place in self.first):
            return None
        if any(path.startswith(f"{place}/") for place in self.first) or self.sources.kind(path) == "link":
            return None
        name = posixpath.basename(path)
        if name.startswith(".env") and not self.prisma:
            return name
        parts = posixpath.relpath(path, "/").split("/")
        return None if _LOOKED_FOR.fullmatch(name) or "node_modules" in parts else name
