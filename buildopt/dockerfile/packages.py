"""Commands of package managers, read: what they do, with which options, to which packages.

``managers.py`` knows where managers keep their caches; here is how their command lines are to be understood. Nothing
here decides: rules do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Command, Word, of_the_command


@dataclass(frozen=True, slots=True)
class Tool:
    """How one program reads its command line. ``valued``: options that take the next word (or what follows ``=``).

    ``families``: first words that another word belongs to, as in ``dnf group install``. ``one_dash``: long options have
    one dash, as Go's have. ``ends``: what follows ``--`` is not for it, but for what it runs.
    """

    name: str
    programs: str
    valued: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()
    one_dash: bool = False
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """An option as it counts: ``-yq`` is two. ``value`` is None where it has none."""

    name: str
    value: Word | None


@dataclass(frozen=True, slots=True)
class Call:
    """A command line, read. ``action`` is ``install``, ``group install``, or empty; ``operands`` what follows it.

    ``anchor`` is the word behind which an option of the action may be put; None where there is no action.
    """

    tool: str
    command: Command
    action: str
    anchor: Word | None
    operands: tuple[Word, ...]
    options: tuple[Option, ...]

    def has(self, *names: str) -> bool:
        """Whether one of these options is given."""
        return any(option.name in names for option in self.options)

    def value(self, *names: str) -> Word | None:
        """The value of the last of these options."""
        return next((option.value for option in reversed(self.options) if option.name in names), None)


TOOLS = (
    Tool(
        "apt-get",
        r"apt-get|apt",
        word_set("-o --option -c --config-file -t --target-release --default-release -a --host-architecture -P"),
    ),
    Tool("aptitude", r"aptitude", word_set("-o -t --target-release -F -w -O -q --user-tag --add-user-tag")),
    Tool(
        "apk",
        r"apk",
        word_set(
            "-t --virtual -X --repository -p --root --arch --keys-dir --repositories-file --wait --cache-dir "
            "--cache-max-age --progress-fd --timeout"
        ),
    ),
    Tool(
        "dnf",
        r"dnf|dnf-3|dnf4|dnf5|microdnf|yum",
        word_set(
            "--enablerepo --disablerepo --enable-repo --disable-repo --repo --repoid --repofrompath --setopt -x "
            "--exclude --excludepkgs --installroot --releasever -c --config -d --debuglevel -e --errorlevel "
            "--advisory --comment --forcearch --rpmverbosity --disableplugin --enableplugin --downloaddir --destdir "
            "--color --randomwait -R --from-repo --use-host-config"
        ),
        word_set("module group environment mark repository history"),
    ),
    Tool(
        "zypper",
        r"zypper",
        word_set(
            "-R --root --installroot -c --config -D --reposd-dir -C --cache-dir --raw-cache-dir --solv-cache-dir "
            "--pkg-cache-dir -p --plus-repo --plus-content --releasever --userdata -r --repo --from -t --type"
        ),
    ),
    Tool(
        "pip",
        r"pip[0-9.]*",
        word_set(
            "-r --requirement -c --constraint -e --editable -t --target --platform --python-version --implementation "
            "--abi --root --prefix --src --upgrade-strategy -C --config-settings --config-setting --global-option "
            "--install-option --build-option --no-binary --only-binary --progress-bar --report --root-user-action "
            "-i --index-url --pypi-url --extra-index-url -f --find-links --cache-dir --proxy --retries --timeout "
            "--exists-action --trusted-host --cert --client-cert --python --log --group --use-feature "
            "--use-deprecated --keyring-provider --build-constraint --requirements-from-script"
        ),
    ),
    Tool(
        "npm",
        r"npm",
        word_set(
            "--prefix -C --registry --cache --loglevel --omit --include --only --also --tag --userconfig "
            "--globalconfig -w --workspace --install-strategy --fetch-timeout --fetch-retries --maxsockets "
            "--script-shell --node-options --cpu --os --libc --before --depth --https-proxy --proxy --cafile"
        ),
    ),
    Tool(
        "yarn",
        r"yarn|yarnpkg",
        word_set(
            "--cwd --cache-folder --network-timeout --registry --modules-folder --mutex --network-concurrency "
            "--global-folder --prefix --use-yarnrc --preferred-cache-folder --proxy --https-proxy"
        ),
        word_set("global workspace cache"),
    ),
    Tool(
        "gem",
        r"gem[0-9.]*",
        word_set(
            "-v --version -i --install-dir -n --bindir -P --trust-policy -s --source -p --http-proxy --platform "
            "--document -B --bulk-threshold --build-root --config-file --without -g --file --target-rbconfig"
        ),
        ends=True,
    ),
    Tool(
        "go",
        r"go",
        word_set(
            "-C -p -asmflags -buildmode -buildvcs -compiler -gccgoflags -gcflags -installsuffix -ldflags -mod "
            "-modfile -overlay -o -pgo -pkgdir -tags -toolexec -covermode -coverpkg -exec"
        ),
        one_dash=True,
    ),
    Tool(
        "uv",
        r"uv",
        word_set(
            "-r --requirement --requirements -c --constraint --constraints --overrides -e --editable -t --target "
            "--prefix -p --python --index --default-index -i --index-url --extra-index-url -f --find-links --cache-dir "
            "--group --extra --only-group --no-group --project --directory --config-file --link-mode --index-strategy "
            "--python-version --python-platform --no-binary --only-binary --no-build-package --no-binary-package "
            "-P --upgrade-package --reinstall-package --refresh-package --resolution --prerelease --exclude-newer "
            "-C --config-setting --keyring-provider --with --with-editable --with-requirements -w -b --color"
        ),
        word_set("pip tool cache python"),
    ),
    Tool(
        "pipx",
        r"pipx",
        word_set("--suffix --pip-args -i --index-url --python --preinstall --spec --backend --fetch-missing-python"),
        ends=True,
    ),
    Tool(
        "pnpm",
        r"pnpm",
        word_set("-C --dir --filter -F --store-dir --registry --reporter --loglevel --prefix --network-concurrency"),
    ),
    Tool("bun", r"bun", word_set("--cwd --registry --backend -c --config --cache-dir --omit --filter")),
)
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*")


@of_the_command
def call(command: Command) -> Call | None:
    """What a command asks a package manager for (``python -m pip`` too); None where it runs none that is known."""
    name, arguments = command.name, command.arguments
    if name is None:
        return None
    if _PYTHON.fullmatch(name):
        texts = [word.text for word in arguments]
        place = texts.index("-m") if "-m" in texts else -1
        module = texts[place + 1] if 0 <= place < len(texts) - 1 else None
        if module is None or any(text is None or not text.startswith("-") for text in texts[:place]):
            return None
        name, arguments = module, arguments[place + 2 :]
    tool = _tool(name)
    return None if tool is None else _read(tool, command, arguments)


def calls(run: Run) -> Iterator[Call]:
    """The package managers' command lines in a RUN."""
    for command in run.script.commands:
        found = call(command)
        if found is not None:
            yield found


@lru_cache(maxsize=4096)
def _tool(name: str) -> Tool | None:
    return next((tool for tool in TOOLS if re.fullmatch(tool.programs, name)), None)


def _read(tool: Tool, command: Command, arguments: Sequence[Word]) -> Call:
    positional: list[Word] = []
    options: list[Option] = []
    words = iter(arguments)
    for word in words:
        text = word.text if word.text is not None else word.raw
        if text == "--":
            positional += () if tool.ends else words
            break
        if not text.startswith("-") or text == "-":
            positional.append(word)
            continue
        options += _options(tool, word, text, words)
    first = positional[0].text if positional else None
    depth = 2 if first in tool.families and len(positional) > 1 else 1
    known = first is not None
    return Call(
        tool.name,
        command,
        " ".join(word.text or word.raw for word in positional[:depth]) if known else "",
        positional[min(depth, len(positional)) - 1] if known else None,
        tuple(positional[depth:]) if known else tuple(positional),
        tuple(options),
    )


def _options(tool: Tool, word: Word, text: str, rest: Iterator[Word]) -> Iterator[Option]:
    name, equals, value = text.partition("=")
    if text.startswith("--") or tool.one_dash:
        if tool.one_dash and name.startswith("--"):
            name = name[1:]
        if equals:
            yield Option(name, _part(word, value))
        else:
            yield Option(name, next(rest, None) if name in tool.valued else None)
        return
    for place, letter in enumerate(text[1:], start=2):
        if f"-{letter}" in tool.valued:
            attached = text[place:]
            yield Option(f"-{letter}", _part(word, attached) if attached else next(rest, None))
            return
        yield Option(f"-{letter}", None)


def _part(word: Word, value: str) -> Word:
    """A part of a word, at the word's place."""
    return Word(value if word.text is not None else None, value, word.span, word.glob)
