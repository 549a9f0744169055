"""Splitting a Ruby file: gems are installed beside compilers, and shipped without them.

The runtime stage is the same slim image again and does all that the only stage did, in its order, except for what
fills the folder of gems. Packages that are not known to compile only stay, headers among them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Instruction
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import HARMLESS, SHELLS, Run
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits import same_image
from buildopt.dockerfile.splits.brought import Brought, brought, origin_of
from buildopt.dockerfile.splits.repeats import operands
from buildopt.dockerfile.splits.ruby_gems import compiles, gems, idle, libraries_of, strange
from buildopt.dockerfile.splits.splits import No, Split, Subject, casing, copy_line, uncovered, writes_files
from buildopt.dockerfile.splits.started import literal

_GEMS = "/usr/local/bundle"
_TAG = re.compile(r"(?:(?:2\.7|[34])(?:\.[0-9]+)*-)?(?:slim(?:-(?:buster|bullseye|bookworm|trixie))?|alpine[0-9.]*)")
_VARIABLES = re.compile(
    r"BUNDLE_(?:APP_CONFIG|BIN|DEPLOYMENT|USER\w*|SYSTEM\w*|GEMFILE)|GEM_(?:PATH|SPEC_CACHE)|RUBYLIB"
)
_ELSEWHERE = re.compile(
    r"--(?:path|install-dir|user-install|bindir|system|deployment|standalone|binstubs|shebang|gemfile|target-rbconfig)\b|-[in]"
)
_BESIDE = word_set("cd echo set true rm pwd ls :")
# What else the runtime stage may run without compilers.
_FINE = HARMLESS | word_set("apt apt-get apk bundle bundler rails rake yarn yarnpkg npm corepack bootsnap pnpm")
_OWNING = word_set("chown chmod mkdir rm useradd adduser groupadd addgroup usermod")
_OF_NODE = word_set("yarn pnpm npm corepack bower")
_LOCKS = word_set("yarn.lock package-lock.json pnpm-lock.yaml npm-shrinkwrap.json")
# Programs that come with compilers, and what compiles.
_TOOLS = (
    r"(?:gcc|g\+\+|cc|c\+\+|make|cmake|ld|ar|nm|strip|strings|gpg|gpg2|apt-key|bzip2|bunzip2|xz|unxz|patch|perl|pip3?|cargo"
    r"|go|node-gyp|autoconf|configure|gem|rustup|dpkg-source|dpkg-buildpackage|file|fakeroot|extconf\.rb)"
)
_NEEDS_TOOLS = re.compile(
    rf"(?<![\w./-]){_TOOLS}(?![\w.:-])|\./configure|/configure\b|\.xz\b|\.bz2\b|\btar\s+-?[a-zA-Z]*[jJ]"
)
_STARTS_TOOLS = re.compile(
    r"[\"'`](?:/usr/bin/)?(?:gcc|g\+\+|cc|make|cmake|gpg2?|xz|bzip2|perl|objdump)[\"'`\s]|RubyInline|^\s*inline\s+do\b|mkmf|create_makefile"
    r"|RbConfig::CONFIG\[.CC.\]",
    re.MULTILINE,
)
_INSTALLS = re.compile(
    r"(?<![/\w-])bundle[\"']?(?:\s*,)?\s*[\"']?(?:install|update|add|check|pristine|package|outdated)\b"
    r"|(?<![/\w-])bundle[ \t]*(?:$|-|\|\||&&|;)|\bgem[\"']?(?:\s*,)?\s*[\"']?(?:install|update|pristine)\b|--m?jit\b"
    r"|\b(?:gcc|g\+\+|make|cmake)\s|rails\s+new",
    re.MULTILINE,
)
_NATIVE_NODE = re.compile(r"node-gyp|node-sass|node-addon-api|\bnan@|\"nan\"|node-pre-gyp|prebuild-install")
_SOURCES = frozenset((".rb", ".rake", ".ru", ".sh", ".gemspec", ".bash"))


def concerns(subject: Subject) -> bool:
    """Whether an image of Ruby installs gems."""
    return subject.final.base.repository == "ruby" and any(
        _installs(command) for run in subject.runs for command in run.commands
    )


def plan(subject: Subject) -> Split:
    """Ship the folder of gems. Raises No."""
    context = subject.context
    if context is None:
        raise No(subject.origin, "only Gemfile.lock tells which gems are installed: give --context")
    tag = subject.final.base.tag
    if _TAG.fullmatch(tag) is None:
        raise No(
            subject.origin,
            "which libraries the image has is not known"
            if re.search("slim|alpine", tag)
            else "the image has compilers itself: there is nothing to leave behind",
        )
    alpine = "alpine" in tag
    last = same_image.last_build(subject, lambda run: any(map(_installs, run.commands)))
    folders = [_GEMS, *_folders(subject)]
    lock = _locked(subject, context, last)
    left_out, texts = _runs(subject, last, folders, alpine)
    _files(subject, folders)
    _no_tools(subject, context)
    uncovered(subject, folders)
    copies = [copy_line(subject, folder) for folder in folders]
    again, kept = _copied(subject, last, lock)
    copies = [*_settings(subject, last), *copies, *([copy_line(subject, kept)] if kept else [])]
    name = subject.written_base.rpartition("/")[2]
    return same_image.split(
        subject,
        last,
        left_out | again,
        texts,
        copies,
        (
            f"a build stage, and a runtime stage on {name}",
            f"{' and '.join(folders)} {'are' if len(folders) > 1 else 'is'} shipped; compilers and headers stay in the "
            "build stage",
        ),
    )


def _installs(command: Command) -> bool:
    """Whether it installs gems."""
    words = [text for text in command.texts if not text.startswith("-")]
    if command.name in ("bundle", "bundler"):
        return words[:1] in ([], ["install"], ["update"]) and "--version" not in command.texts
    return command.name == "gem" and words[:1] in (["install"], ["update"], ["i"])


def _folders(subject: Subject) -> list[str]:
    """Where gems go, beside the folder of the image. Raises No where that is not certain."""
    values = subject.final.environment
    paths = {values.get("BUNDLE_PATH"), values.get("GEM_HOME")} - {None}
    homes = (_GEMS, *sorted(path for path in paths if path))
    for item in subject.head:
        for pair in item.pairs if item.keyword in ("ENV", "ARG") else ():
            name = pair.key.text
            value = values.get(name) or ""
            if name in ("BUNDLE_PATH", "GEM_HOME"):
                fine = item.keyword == "ENV" and re.fullmatch(r"/[\w./-]+", value) is not None
            elif name == "BUNDLE_DEPLOYMENT":  # without a path it moves the gems
                fine = "BUNDLE_PATH" in values
            elif name == "BUNDLE_APP_CONFIG":
                fine = value in homes
            elif name == "BUNDLE_BIN":
                fine = value.startswith(tuple(f"{home}/" for home in homes))
            else:
                fine = not _VARIABLES.match(name)
            if not fine:
                raise No(item, f"{name} may lead gems elsewhere")
    folders = [posixpath.normpath(home) for home in homes if relation(home, _GEMS) is not Relation.INSIDE]
    for folder in folders:
        standing = any(relation(state.workdir or "/", folder) is Relation.INSIDE for state in subject.known.values())
        if standing or folder in ("/usr", "/usr/local", "/opt", "/root", "/home", "/var", "/tmp", "/srv"):
            raise No(subject.origin, f"{folder} holds more than gems")
    return folders


def _locked(subject: Subject, context: Path, last: Run) -> Brought:
    """The lock file as it is brought. Raises No where it is not there, or names what is not understood."""
    before = [item for item in subject.head if item.span.start < last.instruction.span.start]
    entries = brought(subject, [item for item in before if item.flag("from") is None])
    folder = last.state.workdir or "/"
    for command in last.commands:
        if command.name == "cd" and command.arguments:
            folder = posixpath.join(folder, literal(command.arguments[0], last.state.environment) or "?")
    path = posixpath.normpath(posixpath.join(folder, "Gemfile.lock"))
    origin = origin_of(entries, path)
    entry = next((item for item in entries if item.path == path), None)
    if origin is None or entry is None or not (context / origin).is_file():
        raise No(last.instruction, "without Gemfile.lock it is not known which gems are installed")
    text = same_image.source_text(entry.instruction, context / origin)
    name = strange(gems(text) | {word for run in subject.runs for word in _named(run)})
    if name:
        raise No(last.instruction, f"which libraries or programs {name} needs at run time is not known")
    if not gems(text) or re.search(r"^PATH\b", text, re.MULTILINE):
        raise No(last.instruction, "gems of the project's own may be compiled in its folder")
    return entry


def _named(run: Run) -> list[str]:
    """The gems that commands install by name."""
    return [text for command in run.commands if command.name == "gem" for text in command.texts[1:] if text[0] != "-"]


def _runs(subject: Subject, last: Run, folders: Sequence[str], alpine: bool) -> tuple[set[int], dict[int, str]]:
    """The RUNs that the runtime stage leaves out, and the text of those that it repeats otherwise. Raises No."""
    compiling = idle(alpine)
    place = last.instruction.span.start
    left_out: set[int] = set()
    texts: dict[int, str] = {}
    gain = lists = False
    for run in subject.runs:
        start = run.instruction.span.start
        packages = [name for use in run.found if use.manager.name in ("apt", "apk") for name, _ in operands(use)]
        if any(map(_installs, run.commands)):
            _plain(run, folders)
            left_out.add(start)
            continue
        _apart(subject, run, folders, start < place)
        if any(use.subcommand in same_image.REMOVES for use in run.found if use.manager.name in ("apt", "apk")):
            raise No(run.instruction, "packages are removed again")
        if start > place and compiles(packages, alpine):
            raise No(run.instruction, "a compiler is installed behind the gems: something else may need it")
        if start > place or not packages:
            continue
        gain = gain or compiles(packages, alpine)
        if same_image.only_fetches(run, lambda name: name not in compiling):
            left_out.add(start)
            lists = lists or same_image.fetches_lists(run)
            continue
        if lists and not any(use.subcommand == "update" for use in run.found) and not alpine:
            raise No(run.instruction, "the lists of packages come from another RUN")
        text = same_image.lean(subject, run, lambda name: name not in compiling)
        texts[start] = libraries_of(text or "", alpine)
        if text is None or re.search(r"build-base|alpine-sdk|build-essential|g\+\+|\bgcc\b", texts[start]):
            raise No(run.instruction, "the compilers cannot be taken out of this RUN")
    if not gain:
        raise No(subject.origin, "no RUN installs compilers: there is nothing to leave behind")
    return left_out, texts


def _plain(run: Run, folders: Sequence[str]) -> None:
    """Refuse a RUN that installs gems and does something else that lasts. Raises No."""
    for command in run.commands:
        shown = " ".join(word.raw for word in command.words)[:60]
        words = [literal(word, run.state.environment) for word in command.arguments]
        joined = command.operator in ("|", "|&", "&", "||")
        if not command.words or command.depth or writes_files(command) or joined:
            raise No(run.instruction, f"what `{shown}` does beside installing gems is not known")
        if command.name in ("bundle", "bundler", "gem"):
            strange_words = [word for word in words if word is None or _ELSEWHERE.match(word)]
            if strange_words or command.environment or command.wrappers:
                raise No(run.instruction, f"where `{shown}` puts gems is not certain")
            first = next((word for word in words if word and not word.startswith("-")), "install")
            known = ("install", "config", "clean", "check", "list", "update", "i", "env", "lock", "cleanup")
            if first not in known or (first == "config" and re.search(r"path|bin|deployment|system|shebang", shown)):
                raise No(run.instruction, f"what `{shown}` does beside installing gems is not known")
        elif command.name not in _BESIDE or (command.name == "rm" and not _caches(command, words, folders)):
            raise No(run.instruction, f"`{shown}` stands in one RUN with the gems")


def _caches(command: Command, words: Sequence[str | None], folders: Sequence[str]) -> bool:
    """Whether all that it removes lies among the gems or in caches."""
    inside = (*folders, "/root/", "/tmp/", "/var/cache/", "/var/lib/apt/lists", "~/", "$GEM_HOME/", "$BUNDLE_PATH/")
    for word, text in zip(command.arguments, words, strict=True):
        raw = re.sub(r"[\"{}]", "", word.raw)
        if not raw.startswith("-") and not (text or raw).startswith(inside):
            return False
    return True


def _apart(subject: Subject, run: Run, folders: Sequence[str], before: bool) -> None:
    """Refuse a RUN that the runtime stage runs and that needs compilers, or gems before they are there. Raises No."""
    packages = {text for use in run.found if use.manager.name in ("apt", "apk") for text, _ in operands(use)}
    odd = next((word for word in _NEEDS_TOOLS.findall(run.text) if word not in packages), None)
    if odd is not None:
        raise No(run.instruction, f"`{odd.strip()}` may need what comes with compilers")
    owns = all(command.name in _OWNING for command in run.commands)
    for folder in (*folders, "GEM_HOME", "BUNDLE_PATH"):
        if folder in run.text and (before or not owns):
            raise No(run.instruction, f"what it does in {folder} is not known")
    for command in run.commands:
        shown = " ".join(word.raw for word in command.words)[:60]
        if command.words and command.name not in _FINE:
            script = command.name in SHELLS and "nodesource.com/" in run.text
            if not script:
                raise No(run.instruction, f"whether `{shown}` needs compilers is not known")
        if command.name in ("bundle", "bundler") and (before or command.texts[:1] == ("config",)):
            lasting = re.search(r"path|bin|deployment|system|shebang", " ".join(command.texts[1:3]))
            if command.texts[:1] != ("config",) or lasting:
                raise No(run.instruction, f"`{shown}` may need gems, or lead them elsewhere")
        elif command.name in ("rails", "rake", "bootsnap") and before:
            raise No(run.instruction, f"`{shown}` needs gems before they are all there")
        elif command.name in _OF_NODE:
            _node(subject, run, command)


def _node(subject: Subject, run: Run, command: Command) -> None:
    """Refuse to install packages of Node.js that may be compiled. Raises No."""
    names = {text for text in command.texts if not text.startswith("-")} - {"install", "add", "global", "i", "ci"}
    shared = "-g" in command.texts or "--global" in command.texts or "global" in command.texts
    if shared and not {name.split("@")[0] for name in names} <= _OF_NODE:
        raise No(run.instruction, "packages of Node.js may be compiled")
    assert subject.context is not None
    if not shared and not any(path.name in _LOCKS for path in same_image.files(subject.context)):
        raise No(run.instruction, "without a lock file it is not known which packages of Node.js may be compiled")


def _files(subject: Subject, folders: Sequence[str]) -> None:
    """Refuse files that are laid among the gems. Raises No."""
    for item in subject.body:
        if item.keyword in ("COPY", "ADD"):
            target = subject.known[item.span.start].value(item.words[-1].text, subject.dockerfile.escape)
            place = posixpath.join(subject.known[item.span.start].workdir or "/", target or "/")
            if item.flag("from") is not None and any(
                relation(place, folder) is not Relation.NONE for folder in folders
            ):
                raise No(item, "it may copy among the gems")
            if target is None or any(relation(place, folder) is Relation.INSIDE for folder in folders):
                raise No(item, "it may copy among the gems")


def _copied(subject: Subject, last: Run, lock: Brought) -> tuple[set[int], str]:
    """COPYs before the gems that later ones make good, and the lock file where it must be shipped.

    Bundler may have written that; where a later COPY brings the context's own again, so it did in the only stage.
    Where ``bundle config`` writes to depends on whether there is a Gemfile, so all are kept for its sake.
    """
    place = last.instruction.span.start
    plain = [item for item in subject.body if item.keyword in ("COPY", "ADD") and item.flag("from") is None]
    later = brought(subject, [item for item in plain if item.span.start > place])
    again: set[int] = set()
    for item in plain if not any(_configures(command) for run in subject.runs for command in run.commands) else ():
        if item.span.start < place and item.flag("chown") is None and _brings_all(brought(subject, [item]), later):
            again.add(item.span.start)
    whole = any(entry.path == lock.path for entry in later)
    return again if whole else again - {lock.instruction.span.start}, "" if whole else lock.path


def _configures(command: Command) -> bool:
    """Whether it sets what may lie elsewhere than among the gems."""
    return command.name in ("bundle", "bundler") and command.texts[:1] == ("config",) and "--local" not in command.texts


def _brings_all(entries: Sequence[Brought], later: Sequence[Brought]) -> bool:
    brings = {(entry.path, entry.origin, entry.owner) for entry in later}
    return bool(entries) and all((entry.path, entry.origin, entry.owner) in brings for entry in entries)


def _settings(subject: Subject, last: Run) -> list[str]:
    """What of ``bundle config`` stands in one RUN with the gems: it may be written to the home of the user."""
    found: list[str] = []
    for run in subject.runs:
        if any(map(_installs, run.commands)) and run.instruction.span.start <= last.instruction.span.start:
            commands = [command for command in run.commands if _configures(command)]
            if commands and any(command.name == "rm" and ".bundle" in run.text for command in run.commands):
                raise No(run.instruction, "what is left of the settings of Bundler is not certain")
            found += (" ".join(word.raw for word in command.words) for command in commands)
    return [f"{casing(subject)('RUN')} {' && '.join(found)}"] if found else []


def _no_tools(subject: Subject, context: Path) -> None:
    """Refuse where containers compile or install gems. Raises No."""
    entry: Instruction = subject.entry() or subject.origin
    if subject.entry() is None:
        raise No(entry, "there is no CMD or ENTRYPOINT: the image may be meant for building in it")
    if same_image.develops(subject, context):
        raise No(entry, "a compose file lays the sources over the image's: they are worked on in it")
    found = _INSTALLS.search(same_image.run_in_containers(subject, context))
    if found is not None:
        raise No(entry, f"containers may run `{found.group().strip()}`, which needs compilers")
    for path in same_image.files(context):
        place = posixpath.relpath(path.as_posix(), context.as_posix())
        if path.name in ("yarn.lock", "package-lock.json", "package.json", "pnpm-lock.yaml"):
            if _NATIVE_NODE.search(same_image.source_text(entry, path)):
                raise No(entry, f"packages of {place} may be compiled")
        elif path.suffix in _SOURCES or path.name in ("Rakefile", "Gemfile"):
            if _STARTS_TOOLS.search(same_image.source_text(entry, path)):
                raise No(entry, f"{place} may start a compiler, which only the build stage has")
        elif path.name == "extconf.rb":
            raise No(entry, f"{place} compiles in the folder of the project")
