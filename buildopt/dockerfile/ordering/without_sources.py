"""Whether a command does the same before the sources are copied as behind them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from buildopt.dockerfile import packages
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.ordering.copied_files import Tree, Unknown
from buildopt.dockerfile.passes.runs import KNOWN_SCRIPTS, runs_what_is_read
from buildopt.dockerfile.shell import Command, Redirect, Word

# They look at no file whose name they are not given, and change none.
_QUIET = word_set(
    ": [ [[ alias arch break command continue date declare echo env exit export false getconf getent hash hostname id "
    "local locale nproc printf pwd read return set shift shopt sleep test trap true type typeset ulimit umask uname "
    "unset wait which whoami"
)
# They read what they are given.
_READING = word_set(
    ". source awk base64 basename cat cmp cut diff dirname dpkg-query du file find grep egrep fgrep head jq ldd ls "
    "md5sum readlink realpath sed sha1sum sha256sum sha512sum sort stat strings tail tee tr uniq wc"
)
# They change what they are given, or make it.
_WRITING = word_set(
    "chgrp chmod chown cp curl dd gpg gunzip gzip install ln mkdir mkfifo mktemp mv rm rmdir rsync setcap sed tar tee "
    "touch truncate unlink unzip wget xz zip"
)
# They speak of the system, of users, or of what comes from a registry.
_SYSTEM = word_set(
    "a2dismod a2enconf a2enmod a2ensite add-apt-repository addgroup adduser apt-key apt-mark chpasswd chsh "
    "debconf-set-selections deluser dpkg-reconfigure fc-cache gpasswd gpgconf groupadd groupdel groupmod ldconfig "
    "locale-gen localedef passwd rpm update-alternatives update-ca-certificates update-locale useradd userdel usermod "
    "docker-php-ext-configure docker-php-ext-enable docker-php-ext-install install-php-extensions pecl phpenmod rustup "
    "install-packages cleaninstall microdnf apt-cache ssh-keyscan tzselect n nvm fnm"
)
# What they are called with has no slash where it is no file.
_NAMING = word_set("addgroup adduser apt-mark delgroup deluser groupadd groupmod locale-gen useradd usermod")
# What a RUN that installs packages of the system does around that.
PLAIN_COMMANDS = frozenset(_QUIET | _READING | _WRITING | _SYSTEM | {"sh", "bash"}) - word_set("fnm n nvm pecl rustup")
_SPOKEN = re.compile(r"DEBIAN_FRONTEND|DEBCONF_\w+|ACCEPT_EULA|LANG|LC_\w+|TZ|APT_LISTCHANGES_FRONTEND")
_ARCHIVE = re.compile(r".*\.(?:deb|rpm|apk)")
_PACKAGES = frozenset(("apt-get", "aptitude", "apk", "dnf", "zypper"))
# What package managers of languages do that has nothing to do with the folder they are started in.
_ELSEWHERE = {
    "pip": word_set("config cache list freeze --version -V show debug check"),
    "npm": word_set("config cache set get view ping --version -v version root prefix"),
    "yarn": word_set("config cache --version -v versions"),
    "pnpm": word_set("config store --version -v setup"),
    "bun": word_set("--version -v pm"),
    "corepack": word_set("enable disable prepare --version -v"),
    "gem": word_set("install update sources --version -v list env"),
    "poetry": word_set("config self --version about cache -V"),
    "pdm": word_set("config self --version cache -V"),
    "pipenv": word_set("--version"),
    "uv": word_set("--version python tool cache self venv -V"),
    "bundle": word_set("config --version -v"),
    "bundler": word_set("config --version -v"),
    "composer": word_set("--version self-update clear-cache clearcache about diagnose -V"),
    "go": word_set("version env"),
    "cargo": word_set("--version -V version"),
    "dotnet": word_set("--version --info"),
    "mix": word_set("local.hex local.rebar hex.info"),
    "node": word_set("--version -v"),
    "python": word_set("--version -V"),
    "python3": word_set("--version -V"),
    "java": word_set("-version --version"),
    "php": word_set("-v --version -m"),
    "ruby": word_set("-v --version"),
    "mvn": word_set("-v --version"),
    "gradle": word_set("-v --version"),
    "git": word_set("config --version clone"),
    "conda": word_set("config clean install update --version"),
    "mamba": word_set("config clean install update --version"),
}
# Files, in the working folder or above, that say which version they are about where nothing else does.
_PINS = {
    "rustup": ("rust-toolchain", "rust-toolchain.toml"),
    "n": (".n-node-version", ".node-version", ".nvmrc", "package.json"),
    "nvm": (".nvmrc",),
    "fnm": (".node-version", ".nvmrc", "package.json"),
    "corepack prepare": ("package.json",),
    "uv venv": (".python-version", ".python-versions", "pyproject.toml", "uv.toml"),
    "uv python": (".python-version", ".python-versions", "pyproject.toml", "uv.toml"),
}
_VERSION = re.compile(r"(?:[a-z]+@)?v?[0-9][0-9.]*|lts(?:/[\w*-]+)?|(?:[a-z]+@)?(?:latest|stable)|current|node")
_STARTING = {"rustup": ("run",), "n": ("run", "as", "use", "exec"), "nvm": ("run", "exec"), "fnm": ("exec",)}
_GLOBAL = {"npm": ("-g", "--global", "--location=global"), "pnpm": ("-g", "--global"), "bun": ("-g", "--global")}
# Their variables are users, groups and modes more often than files.
_OWNERS = word_set("chgrp chmod chown install")
DEEP = frozenset(("-R", "--recursive", "-Rf", "-fR", "-Rv", "-vR", "-hR", "-Rh"))
"""How chmod, chown and chgrp are told to do it to all that a folder holds."""
_VARIABLE = re.compile(r"\"?\$\{?\w+\}?\"?$")
_INTERPRETER = re.compile(r"(?:ba|da|a)?sh|python[0-9.]*|php")
_INSTALLERS = (*KNOWN_SCRIPTS, "getcomposer.org/installer", "githubusercontent.com/composer/getcomposer.org/")
_OUTPUT = re.compile(r"^(?:>>?|>\||&>>?)$")


@dataclass(frozen=True, slots=True)
class Before:
    """The files that the sources bring (``tree``), and those of them that are copied before (``first``).

    ``variables`` are those whose value is known.
    """

    tree: Tree
    first: Collection[str]
    variables: Mapping[str, str] = field(default_factory=dict)

    def reason(self, command: Command, folder: str | None, text: str) -> str:
        """Why a command may need the sources, empty where it does not. ``text`` is the whole RUN."""
        shown = " ".join(word.raw for word in command.words)[:60] or command.span
        for redirect in command.redirects:
            problem = self._redirect(redirect, folder)
            if problem:
                return f"`{shown}` {problem}"
        own = [item.value for item in command.environment if not _SPOKEN.fullmatch(item.name)]
        if any(self._is_there(value, folder, writes=False) for value in own):
            return f"`{shown}` is given a file of the sources"
        if not command.words:
            return ""
        try:
            problem = self._command(command, folder, text)
        except Unknown as unknown:
            problem = str(unknown)
        return f"`{shown}` {problem}" if problem else ""

    def _redirect(self, redirect: Redirect, folder: str | None) -> str:
        target = redirect.target
        if target is None or redirect.operator.startswith("<<") or redirect.operator.endswith("&"):
            return ""
        writes = _OUTPUT.match(redirect.operator) is not None
        if writes and target.text is not None and self._is_listed(target.text, folder):
            return "writes a file of the sources"
        return "reads or writes a file of the sources" if self._is_there(target, folder, writes=writes) else ""

    def _command(self, command: Command, folder: str | None, text: str) -> str:
        name = command.name
        if name is None:
            return "is not known before it runs"
        if "/" in (command.argv[0].text or "") and self._is_there(command.argv[0], folder, writes=False):
            return "is a program of the sources"
        if "xargs" in command.wrappers or {"su", "runuser"} & {name}:
            return "may need the sources"
        if name in ("cd", "pushd"):
            return self._enters(command, folder)
        if name in _QUIET:
            return "looks at the sources" if name in ("[", "[[", "test") and self._reads(command, folder) else ""
        if runs_what_is_read(command):
            return ""
        piped = all(item.startswith("-") for item in command.texts)
        if piped and _INTERPRETER.fullmatch(name) and any(host in text for host in _INSTALLERS):
            return ""
        if name in _READING and not (
            name == "sed" and any(item.startswith(("-i", "--in-place")) for item in command.texts)
        ):
            return self._reading(command, folder)
        if name in _WRITING:
            return self._writing(command, folder)
        if name in _NAMING:
            return "is given a file of the sources" if self._opens(command, folder) else ""
        if set(_STARTING.get(name, ())) & set(command.texts):
            return "may need the sources"
        if self._is_pinned(command, folder):
            return "may read a version from a file of the sources"
        if name in _SYSTEM:
            return "is given a file of the sources" if self._reads(command, folder) else ""
        return self._manager(command, folder)

    def _is_pinned(self, command: Command, folder: str | None) -> bool:
        """Whether the sources may bring a file that tells a version, and the command does not tell it."""
        name = command.name or ""
        pins = _PINS.get(name) or _PINS.get(" ".join((name, *command.texts[:1])))
        if pins is None:
            return False
        if name != "rustup" and any(_VERSION.fullmatch(self._text(word) or "") for word in command.arguments):
            return False
        if folder is None:
            return True
        above = [folder, *(folder[: match.start()] or "/" for match in re.finditer("/", folder))]
        places = {posixpath.join(place, pin) for place in above for pin in pins}
        return any(place not in self.first and self.tree.kind(place) for place in places)

    def _enters(self, command: Command, folder: str | None) -> str:
        path = self._path(command.arguments[0], folder) if len(command.arguments) == 1 else None
        if path is None:
            return "" if not command.arguments else "enters a folder that is not known"
        if not self.tree.kind(path) or any(item == path or item.startswith(f"{path}/") for item in self.first):
            return ""
        return "enters a folder of the sources"

    def _reading(self, command: Command, folder: str | None) -> str:
        if command.name in ("ls", "find", "du", "tee", "grep", "egrep", "fgrep") and folder is None:
            return "may look at the sources"
        if command.name in ("find", "du") or "-r" in command.options or "-R" in command.options:
            places = [self._path(word, folder) for word in command.arguments if not word.raw.startswith("-")]
            if not places or any(place is None or self.tree.touches(place) for place in places):
                return "looks at the sources"
        return "reads the sources" if self._reads(command, folder) else ""

    def _writing(self, command: Command, folder: str | None) -> str:
        name, texts = command.name, command.texts
        if name == "mkdir" and any(re.fullmatch(r"-\w*p\w*|--parents", item) for item in texts):
            return (
                "" if all(self._folder(word, folder) for word in command.arguments) else "makes what the sources bring"
            )
        if name in ("tar", "unzip", "wget", "curl") and folder is not None:
            aside = any(
                item in ("-C", "-d", "-P", "--directory") or item.startswith(("-C/", "-d/", "--directory=/"))
                for item in texts
            )
            listing = name in ("wget", "curl") or any(re.fullmatch(r"-?\w*[ct]\w*f?", item) for item in texts[:1])
            if not aside and not listing and self.tree.touches(folder):
                return "unpacks into the folder of the sources"
        words = command.arguments
        if name == "ln" and any(re.fullmatch(r"-\w*s\w*", item) for item in texts):
            words = words[-1:]  # where a link points to need not be there
        for word in words:
            if word.text is not None and word.text.startswith("-") and "/" not in word.text:
                continue
            if name in ("chown", "chmod", "chgrp") and self._is_root(word, folder) and not DEEP & set(texts):
                continue
            if word.text is not None and "://" in word.text:
                base = posixpath.basename(word.text.split("?")[0])
                if folder is not None and self.tree.kind(posixpath.join(folder, base)):
                    return "writes a file of the sources"
                continue
            if self._is_there(word, folder, writes=True) or (
                name not in _OWNERS and _VARIABLE.match(word.raw) and self._text(word) is None
            ):
                return "may change or read the sources"
        return ""

    def _is_root(self, word: Word, folder: str | None) -> bool:
        """Whether a word is the folder that the sources go to, or one above: it is there before them."""
        path = self._path(word, folder)
        return path is not None and any(
            landing.folder and (landing.place == path or landing.place.startswith(f"{path.rstrip('/')}/"))
            for landing in self.tree.landings
        )

    def _folder(self, word: Word, folder: str | None) -> bool:
        """Whether ``mkdir -p`` may come first: what the sources bring there is a folder too."""
        if word.raw.startswith("-"):
            return True
        path = self._path(word, folder)
        return path is not None and not word.glob and self.tree.kind(path) in ("", "folder")

    def _manager(self, command: Command, folder: str | None) -> str:
        call = packages.call(command)
        name = command.name or ""
        if call is not None and call.tool in _PACKAGES:
            return "is given a file of the sources" if self._opens(command, folder) else ""
        if name == "pacman" and command.texts and command.texts[0].startswith("-S"):
            return ""
        tool = call.tool if call is not None else name
        actions = [text for text in command.texts if tool != "pip" or text not in ("-m", "pip")]
        action = next((text for text in actions if not text.startswith("-")), actions[0] if actions else "")
        if call is not None and call.tool == "pip" and call.action in ("install", "uninstall", "download"):
            return self._named(call, folder)
        if tool in _GLOBAL and set(_GLOBAL[tool]) & set(command.texts):
            return self._named(call, folder) if call is not None else "may need the sources"
        if tool == "yarn" and command.texts[:1] == ("global",):
            return self._named(call, folder) if call is not None else "may need the sources"
        if (
            tool == "go"
            and action == "install"
            and call is not None
            and all("@" in (w.text or "") for w in call.operands)
        ):
            return ""
        if tool == "composer" and command.texts[:1] == ("global",):
            return ""
        if _INTERPRETER.fullmatch(name) and command.texts[:2] in (("-m", "venv"), ("-m", "ensurepip")):
            return "makes what the sources bring" if self._reads(command, folder) else ""
        if name in ("virtualenv",):
            return "makes what the sources bring" if self._reads(command, folder) else ""
        if tool == "dotnet" and command.texts[:2] == ("tool", "install") and {"-g", "--global"} & set(command.texts):
            return ""
        if action in ("config", "tool") and self._configures(tool, command, folder):
            return "changes a file of the sources"
        if action in _ELSEWHERE.get(tool, ()):
            return "is given a file of the sources" if self._reads(command, folder) else ""
        if tool == "uv" and command.texts[:2] == ("pip", "install") and call is not None:
            return self._named(call, folder)
        return "may need the sources"

    def _configures(self, tool: str, command: Command, folder: str | None) -> bool:
        """Whether a setting goes into a file that the sources bring: it would be taken back."""
        names = {"yarn": ".yarnrc.yml", "bundle": ".bundle", "bundler": ".bundle"}
        said = " ".join(command.texts)
        name = ".npmrc" if tool in ("npm", "pnpm") and "project" in said else names.get(tool)
        name = "poetry.toml" if tool == "poetry" and "--local" in said else name
        return name is not None and (folder is None or bool(self.tree.kind(posixpath.join(folder, name))))

    def _named(self, call: packages.Call, folder: str | None) -> str:
        """An install of packages by name."""
        for option in call.options:
            if option.name not in (
                "-e",
                "--editable",
                "-r",
                "--requirement",
                "-c",
                "--constraint",
                "-f",
                "--find-links",
            ):
                continue
            word = option.value
            path = self._path(word, folder) if word is not None else None
            remote = word is not None and "://" in (word.text or "")
            if not remote and (option.name in ("-e", "--editable") or path is None or path not in self.first):
                return "may need the sources"
        for word in call.operands:
            if word.text is None and not re.fullmatch(r"\"?[\w.@/-]+(?:[=<>~@^]+)\"?\$\{?\w+\}?\"?", word.raw):
                return "is not known before it runs"
            if word.text is not None and (word.text.startswith((".", "/", "~", "file:")) or word.glob):
                return "may install the sources"
            # `pip install app` asks the index, whatever folders there are; with a slash it is a folder.
            slash = word.text is not None and "/" in word.text and not word.text.startswith("@")
            if slash and self._is_there(word, folder, writes=False):
                return "may install the sources"
        return ""

    def _reads(self, command: Command, folder: str | None) -> bool:
        return any(self._is_there(word, folder, writes=False) for word in command.arguments)

    def _opens(self, command: Command, folder: str | None) -> bool:
        """The same of a command that takes names: only what has a slash, or is a package by its own name, is a file."""
        return any(
            self._is_there(word, folder, writes=False)
            for word in command.arguments
            if word.text is None or word.glob or "/" in word.text or _ARCHIVE.fullmatch(word.text) or word.text == "."
        )

    def _is_listed(self, text: str, folder: str | None) -> bool:
        path = None if folder is None else posixpath.normpath(posixpath.join(folder, text))
        return path is not None and path in self.first

    def _text(self, word: Word) -> str | None:
        """A word's value, with variables of ENV put into the place of plain references to them."""
        if word.text is not None or re.search(r"[`'\\*?\[]|\$[^\w{]|\$\{\w*[^\w}]", word.raw):
            return word.text
        names = re.findall(r"\$\{?(\w+)", word.raw)
        if any(name not in self.variables for name in names):
            return None
        return re.sub(r"\$\{?(\w+)\}?", lambda match: self.variables[match[1]], word.raw.replace('"', ""))

    def _path(self, word: Word, folder: str | None) -> str | None:
        text = self._text(word)
        if text is None or text.startswith("~"):
            return None
        return (
            None
            if folder is None and not text.startswith("/")
            else posixpath.normpath(posixpath.join(folder or "/", text))
        )

    def _is_there(self, word: Word, folder: str | None, *, writes: bool) -> bool:
        """Whether a word may name something that the sources bring (and nothing that is copied before)."""
        text = self._text(word)
        if text is None:
            return self._open(word.raw)
        if text.startswith("-") and "=" not in text and "/" not in text:
            return False
        pieces = [text, *re.split(r"[=:,]", text)] if re.search(r"[=:,]", text) else [text]
        return any(self._is_path(piece, word, folder, writes=writes) for piece in pieces if piece)

    def _is_path(self, text: str, word: Word, folder: str | None, *, writes: bool) -> bool:
        if text.startswith("~") or "://" in text:
            return False
        if folder is None and not text.startswith("/"):
            return True
        path = posixpath.normpath(posixpath.join(folder or "/", text))
        if text in (".", "./") and self.tree.touches(path):
            return True
        if word.glob and re.search(r"[*?\[{]", text):
            above = path[: re.search(r"[*?\[{]", path).start()].rpartition("/")[0] or "/"  # type: ignore[union-attr]
            return self.tree.touches(above)
        if path in self.first and not writes:
            return False
        if not self.tree.kind(path) and not (writes and self.tree.touches(path)):
            return False
        # Folders that manifests are copied to are there; who changes them changes what comes later too.
        return writes or self.tree.kind(path) != "folder" or path not in {"/", folder}

    def _open(self, raw: str) -> bool:
        """Whether a word with variables may name something of the sources: not below another folder, or in a URL."""
        start = raw.strip("\"'")
        if "://" in start or re.match(r"\$\{?HOME\}?/|-?\$\{?\w+\}?$", start):
            return False
        if "/" not in start:
            return False
        fixed = start.split("$")[0].rpartition("/")[0]
        return not (fixed.startswith("/") and len(fixed) > 1 and not self.tree.touches(fixed))
