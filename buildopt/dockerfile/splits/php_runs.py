"""What the RUNs of a PHP file do: set up the system, bring what only the build needs, or build the application."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.paths import Relation, relation
from buildopt.dockerfile.passes.runs import KNOWN_SCRIPTS, Run, script_run
from buildopt.dockerfile.shell import Command, Word
from buildopt.dockerfile.splits.repeats import operands
from buildopt.dockerfile.splits.same_image import REMOVES
from buildopt.dockerfile.splits.splits import No
from buildopt.dockerfile.splits.started import literal

# What the image itself sets.
_IMAGE = {"PHP_INI_DIR": "/usr/local/etc/php", "HOME": "/root", "APACHE_CONFDIR": "/etc/apache2"}
_QUIET = word_set(
    "set true false : cd pwd ls sync sleep test [ exit which command export umask id whoami cat grep echo printf env "
    "nproc head tail wc sha384sum sha256sum date stat uname"
)
_FILES = word_set("cp mv mkdir touch rm ln chmod chown chgrp sed tee find install truncate dos2unix")
_SYSTEM = word_set(
    """apt apt-get apk docker-php-ext-install docker-php-ext-configure docker-php-ext-enable docker-php-source
    install-php-extensions pecl pear phpize a2enmod a2dismod a2ensite a2dissite a2enconf a2disconf apachectl apache2ctl
    service useradd adduser groupadd addgroup usermod groupmod dpkg dpkg-reconfigure locale-gen update-ca-certificates
    ldconfig setcap update-alternatives"""
)
_COMPOSER = word_set("composer composer.phar")
_NODE = word_set("npm npx yarn pnpm")
# What Composer does that leaves its traces in the project, and in its own caches alone.
_COMPOSES = word_set(
    "install i update u dump-autoload dumpautoload dump require req remove clear-cache clearcache cc run-script run "
    "diagnose check-platform-reqs validate about show self-update config audit fund reinstall dump-env"
)
_ARTISAN = re.compile(
    r"(?:key|config|route|view|event|icons|optimize|package|vendor|storage|cache|passport|migrate|db|l5-swagger|telescope|horizon"
    r"|nova|jwt|octane|ziggy|scribe|ide-helper|filament|livewire|clear-compiled|lang|permission|schedule|backpack|lighthouse"
    r"|settings|queue|wayfinder|adminlte|orchid|debugbar|responsecache|settings|translations|tinker|about|list|env)(?:[:-].*)?|--version"
)
_CONSOLE = re.compile(
    r"(?:cache|assets|asset-map|importmap|doctrine|lexik|sass|tailwind|ckeditor|fos|dump-env|secrets|about|list|debug|router)"
    r"(?:[:-].*)?|d:.*|--version"
)
_TEMPORARY = re.compile(
    r"(?:/tmp|/var/tmp|/var/cache|/var/lib/apt/lists|/root/\.(?:composer|npm|cache|config/composer))(?:/|$).*"
    r"|(?:/usr(?:/local)?/bin/|.*/)?composer(?:\.phar|-setup\.php)?"
)
_INSTALLER = re.compile(
    r"getcomposer\.org|composer\.github\.io|composer-setup\.php|composer\.phar|composer/getcomposer"
)
_OF_INSTALLER = word_set("curl wget php mv rm chmod ln echo sha384sum mkdir tee cp export")
_GLOBAL = re.compile(
    r"(?:npm|yarn|pnpm|corepack|gulp|gulp-cli|grunt|grunt-cli|bower|webpack|webpack-cli|n)(?:@[\w.^~-]+)?"
)
_IDLE = {
    "git": "git",
    "unzip": "unzip",
    "zip": "zip",
    "nodejs": "node",
    "npm": "node",
    "yarn": "node",
    "yarnpkg": "node",
}
_HEAVY = re.compile(r"\b(?:apt-get|apt|apk|docker-php-ext-\w+|install-php-extensions|pecl)\b")


class Kind(Enum):
    """What becomes of a RUN: both stages need it, the build needs it, or it makes the application."""

    KEEP = "keep"
    TOOL = "tool"
    PACKAGES = "packages"
    APP = "app"


@dataclass(frozen=True, slots=True)
class Part:
    """One command with the folder that it runs in; ``paths`` are the files that it speaks of, where they are known."""

    command: Command
    folder: str
    paths: tuple[str | None, ...]


def idle(needed: Collection[str]) -> frozenset[str]:
    """The packages of the distribution that only the build needs; ``needed`` are tools that containers start."""
    return frozenset(name for name, tool in _IDLE.items() if tool not in needed)


def installs(command: Command) -> bool:
    """Whether it installs packages of the project."""
    names = [text for text in command.texts if not text.startswith("-")]
    if _is_composer(command):
        names = names[1:] if names[:1] and names[0].endswith("composer.phar") else names
        return names[:1] in (["install"], ["i"], ["update"], ["require"], ["u"])
    return False


def _is_composer(command: Command) -> bool:
    if command.name in _COMPOSER:
        return True
    first = next((text for text in command.texts if not text.startswith("-")), "")
    return command.name == "php" and posixpath.basename(first) in _COMPOSER


def parts(run: Run) -> Iterator[Part]:
    """The commands of a RUN. Raises No where the folder is not known."""
    folder = run.state.workdir or "/"
    for command in run.commands:
        if command.name == "cd" and command.arguments:
            target = literal(command.arguments[0], {**_IMAGE, **run.state.environment})
            if target is None or {"subshell", "if", "loop", "case"} & set(command.context):
                raise No(run.instruction, "the folder that it runs in is not known")
            folder = posixpath.normpath(posixpath.join(folder, target))
        elif command.words or command.redirects:
            yield Part(command, folder, tuple(_paths(command, folder, run.state.environment)))


def _paths(command: Command, folder: str, environment: Mapping[str, str | None]) -> Iterator[str | None]:
    words: list[Word] = [item.target for item in command.redirects if item.target is not None and ">" in item.operator]
    names = [word for word in command.arguments if not (word.text or word.raw).startswith("-")]
    if command.name in _FILES:
        skipped = 1 if command.name in ("chmod", "chown", "chgrp") else 0
        if command.name == "sed":
            texts = [word.text or word.raw for word in command.arguments]
            values = [
                index + 1 for index, text in enumerate(texts) if re.fullmatch(r"-[a-zA-Z]*[ef]|--expression", text)
            ]
            given = [word for index, word in enumerate(command.arguments) if index not in values]
            names = [word for word in given if not (word.text or word.raw).startswith("-")]
            skipped = 0 if values else 1
        elif command.name == "find":
            names = names[:1] or []
        words += names[skipped:]
    elif command.name in ("curl", "wget"):
        texts = [word.text or word.raw for word in command.arguments]
        words += (
            command.arguments[index + 1]
            for index, text in enumerate(texts[:-1])
            if re.fullmatch(r"-[a-zA-Z]*[oO]", text)
        )
    for word in words:
        if word.text in ("/dev/null", "1", "2", "&1", "&2", "/dev/stdout", "/dev/stderr"):
            continue
        text = literal(word, {**_IMAGE, **environment})
        yield posixpath.normpath(posixpath.join(folder, re.sub(r"^~(?=/|$)", "/root", text))) if text else None


def kind(run: Run, folder: str, needed: Collection[str], *, strict: bool) -> Kind:
    """What a RUN does; ``folder`` is the application's, ``needed`` the tools that containers start.

    ``strict``: a RUN behind the sources, of which all must be understood. Raises No.
    """
    if _is_tool(run, folder, needed):
        return Kind.TOOL
    found = list(parts(run))
    app = [part for part in found if _is_app(run, part, folder)]
    if app:
        for part in found:
            if part not in app and not _is_neutral(part):
                shown = " ".join(word.raw for word in part.command.words)[:60] or run.text.strip()[:60]
                raise No(run.instruction, f"`{shown}` stands in one RUN with the application's build")
        return Kind.APP
    if _only_idle(run, found, needed):
        return Kind.PACKAGES
    if all(map(_is_neutral, found)) and any("composer" in (path or "") for part in found for path in part.paths):
        return Kind.TOOL
    for part in found:
        _understood(run, part, strict)
    return Kind.KEEP


def _understood(run: Run, part: Part, strict: bool) -> None:
    """Refuse what a stage without the tools may not do, or do otherwise. Raises No."""
    command = part.command
    shown = " ".join(word.raw for word in command.words)[:60]
    script = script_run(command, run.text)
    if script is not None:
        raise No(run.instruction, f"whether {script} needs programs of the build stage is not known")
    if strict and command.name not in (*_QUIET, *_FILES, *_SYSTEM) and command.words:
        raise No(run.instruction, f"what `{shown}` leaves outside of the application's folder is not known")
    if strict and any(use.command is command and use.subcommand in REMOVES for use in run.found):
        raise No(run.instruction, "packages are removed again")
    if strict and command.name in ("useradd", "adduser", "usermod") and re.search(r"\s-\w*[dm]\b|--home|--move", shown):
        raise No(run.instruction, f"`{shown}` may make the folder of the application")
    if any(_is_program(path) for path in part.paths):
        raise No(run.instruction, f"`{shown}` changes a program of the build stage")
    if strict and None in part.paths:
        raise No(run.instruction, f"which files `{shown}` changes is not known")


def _is_program(path: str | None) -> bool:
    return re.fullmatch(r"/usr(?:/local)?/bin/(?:composer(?:\.phar)?|git|unzip|zip|node|npm)", path or "") is not None


def _is_neutral(part: Part) -> bool:
    """Whether nothing lasts of it outside of caches."""
    name = part.command.name
    if part.paths:
        return name in ("rm", *_QUIET) and all(path is not None and _TEMPORARY.fullmatch(path) for path in part.paths)
    return name in _QUIET or not part.command.words or _is_idle_php(part.command)


def _is_idle_php(command: Command) -> bool:
    return command.name == "php" and command.texts[:1] in (("-v",), ("-m",), ("-i",), ("--version",), ("--ini",))


def _is_app(run: Run, part: Part, folder: str) -> bool:
    """Whether it builds the application, or changes files of it. Raises No where it may do more."""
    command = part.command
    here = relation(part.folder, folder) is Relation.INSIDE
    shown = " ".join(word.raw for word in command.words)[:60]
    if _is_composer(command):
        _composes(run, part, folder, shown)
        return True
    if command.name in _NODE:
        if "-g" in command.texts or "--global" in command.texts or command.texts[:1] == ("global",) or not here:
            raise No(run.instruction, f"where `{shown}` puts its files is not certain")
        return True
    if (command.name == "php" and not _is_idle_php(command)) or command.name in ("artisan", "console"):
        if not here and not any(text.startswith(f"{folder}/") for text in command.texts):
            return False
        words = [text for text in command.texts if not text.startswith("-") or text == "--version"]
        if _INSTALLER.search(run.text) and (
            command.texts[:1] in (("--",), ("-r",)) or _of_composer((words or [""])[0])
        ):
            return False
        if command.name != "php":
            words = [command.name or "", *words]
        program = posixpath.basename(words[0]) if words else ""
        known = {"artisan": _ARTISAN, "console": _CONSOLE}.get(program)
        if known is None or (words[1:] and not known.fullmatch(words[1])):
            raise No(run.instruction, f"what `{shown}` writes is not known")
        return True
    of_installer = _INSTALLER.search(run.text) is not None
    inside = [
        path is not None and relation(path, folder) is Relation.INSIDE and not (of_installer and _of_composer(path))
        for path in part.paths
    ]
    over = command.name in ("chown", "chmod", "chgrp") and any(
        path is not None and relation(path, folder) is Relation.PARENT for path in part.paths
    )
    if not any(inside) and not over:
        return False
    if command.name == "rm":
        inside = [
            at or _TEMPORARY.fullmatch(path or "") is not None for path, at in zip(part.paths, inside, strict=True)
        ]
    if over and not all(path in ("/var/www",) or at for path, at in zip(part.paths, inside, strict=True)):
        raise No(run.instruction, f"`{shown}` changes more than the application")
    if not all(inside) and not over:
        raise No(run.instruction, f"`{shown}` speaks of files within and without the application's folder")
    if command.name in ("rm", "mv", "ln") and any(path == folder or _of_the_image(path) for path in part.paths):
        raise No(run.instruction, f"`{shown}` replaces a folder of the image")
    if command.name == "find" and re.search(r"-(?:delete|fprint\w*|execdir|ok)|-exec\s+(?!chmod|chown|rm)", shown):
        raise No(run.instruction, f"what `{shown}` does is not known")
    return True


def _composes(run: Run, part: Part, folder: str, shown: str) -> None:
    """Refuse what Composer does elsewhere than in the project and in its caches. Raises No."""
    words = [text for text in part.command.texts if not text.startswith("-")]
    words = words[1:] if part.command.name == "php" else words
    words = [word for word in words if not word.startswith("/")]
    idle_words = word_set("about clear-cache clearcache cc self-update diagnose config")
    here = relation(project_folder(part), folder) is Relation.INSIDE or not words or words[0] in idle_words
    known = not words or words[0] in _COMPOSES or (words[0] == "global" and "prestissimo" in shown)
    if not here or not known or re.search(r"bin-dir|vendor-dir|(?:^|\s)home\b", shown):
        raise No(run.instruction, f"where `{shown}` puts its files is not certain")


def project_folder(part: Part) -> str:
    """The folder that a command of Composer works in."""
    words = [word.text or word.raw.strip("\"'") for word in part.command.arguments]
    for index, word in enumerate(words):
        match = re.fullmatch(r"(?:-d|--working-dir)(?:=?(.+))?", word)
        if match is not None:
            given = match[1] or (words[index + 1] if index + 1 < len(words) else "")
            return posixpath.normpath(posixpath.join(part.folder, given))
    return part.folder


def _of_the_image(path: str | None) -> bool:
    """Whether a path, globs included, is the folder for sites that the image has."""
    return path is not None and posixpath.dirname(path) == "/var/www" and fnmatchcase("html", posixpath.basename(path))


def _is_tool(run: Run, folder: str, needed: Collection[str]) -> bool:
    """Whether nothing but Composer or Node.js is installed."""
    names = {command.name for command in run.commands if command.words}
    if "composer" not in needed and _INSTALLER.search(run.text) and names <= _OF_INSTALLER | _QUIET | {"sh"}:
        return all(
            part.command.name not in ("mv", "rm", "chmod", "ln", "cp", "mkdir", "tee")
            or all(path is not None and _of_composer(path) for path in part.paths)
            for part in parts(run)
        )
    if "node" in needed:
        return False
    by_npm = [command for command in run.commands if command.name in ("npm", "corepack", "n")]
    if by_npm and names <= {"npm", "corepack", "n"} | _QUIET:
        packages = [text for command in by_npm for text in command.texts if not text.startswith("-")]
        shared = all({"-g", "--global", "enable", "prepare"} & set(command.texts) for command in by_npm)
        return shared and all(
            _GLOBAL.fullmatch(name) or name in ("install", "i", "enable", "prepare") for name in packages
        )
    if "nodesource.com/" in run.text and any(host in run.text for host in KNOWN_SCRIPTS):
        fetched = {name for use in run.found if use.subcommand == "install" for name, _ in operands(use)}
        if not fetched:
            return False
        plain = names <= word_set("curl bash sh apt-get apt rm npm") | _QUIET and fetched <= {"nodejs", "npm", "yarn"}
        return plain and all(
            _GLOBAL.fullmatch(text) or text in ("install", "i") or text.startswith("-")
            for command in run.commands
            if command.name == "npm"
            for text in command.texts
        )
    return False


def other_node(run: Run, folder: str) -> bool:
    """Whether it sets up another source of Node.js, from which more than itself may install."""
    return re.search(r"nodesource|dl\.yarnpkg", run.text) is not None and not _is_tool(run, folder, ())


def _of_composer(path: str) -> bool:
    return (
        re.fullmatch(r"(?:.*/)?composer(?:\.phar|-setup\.php(?:\.sig)?)?|/usr(?:/local)?/bin|/tmp/.*", path) is not None
    )


def _only_idle(run: Run, found: Collection[Part], needed: Collection[str]) -> bool:
    """Whether it does nothing but install packages of the distribution that only the build needs."""
    uses = {id(use.command): use for use in run.found if use.manager.name in ("apt", "apk")}
    packages = [name for use in uses.values() if use.subcommand in ("install", "add") for name, _ in operands(use)]
    if not packages or not set(packages) <= idle(needed):
        return False
    for part in found:
        use = uses.get(id(part.command))
        if use is not None and use.subcommand not in ("install", "add", "update", "clean", "autoclean"):
            return False
        if use is None and not _is_neutral(part):
            return False
    return not any("--virtual" in text or text == "-t" for use in uses.values() for text in use.command.texts)


def configures(run: Run) -> bool:
    """Whether it changes no more than settings of servers and of PHP, which packages are installed without."""
    places = ("/etc/apache2", "/etc/nginx", "/usr/local/etc", "/etc/supervisor", "/etc/php", "/etc/cron")
    return all(
        (part.command.name or "").startswith("a2")
        or (
            part.command.name in (*_FILES, *_QUIET)
            and all(path is not None and path.startswith(places) for path in part.paths)
        )
        for part in parts(run)
    )


def heavy(run: Run) -> bool:
    """Whether it installs packages or compiles extensions, which is better done once."""
    return _HEAVY.search(run.text) is not None


def owners_above(run: Run, folder: str) -> list[str]:
    """The commands that give the application's folder itself, and those above it, their owners and modes."""
    found: list[str] = []
    for part in parts(run):
        command = part.command
        raw = [word.raw for word in command.words]
        if command.name == "find" and part.paths == (folder,):
            match = re.search(r"-exec\s+((?:chmod|chown)\s+\S+)\s", " ".join(raw))
            if match is not None and not re.search(r"-type f|-(?:i?name|path|mindepth|perm|user)\b", " ".join(raw)):
                found.append(f"{match[1]} {folder}")
        elif command.name in ("chown", "chmod", "chgrp"):
            paths = [path for path in part.paths if path is not None and relation(path, folder) is not Relation.NONE]
            outer = [path for path in paths if path == folder or relation(path, folder) is Relation.PARENT]
            if not outer:
                continue
            if command.depth or command.operator == "||" or command.negated:
                raise No(run.instruction, f"whose {folder} itself is, is not certain")
            recursive = any(re.fullmatch(r"-[a-zA-Z]*R[a-zA-Z]*|--recursive", text) for text in command.texts)
            targets = [*outer, *([folder] if recursive and folder not in outer else [])]
            value = next(word.raw for word in command.arguments if not (word.text or word.raw).startswith("-"))
            found.append(f"{command.name} {value} {' '.join(targets)}")
    return found
