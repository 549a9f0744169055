"""What npm, yarn, pnpm and bun read of a project when they install its dependencies."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from buildopt.dockerfile.files import json_value
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.ordering.copied_files import Unknown
from buildopt.dockerfile.ordering.lock_files import (
    Manifests,
    bun_keeps_lock,
    npm_keeps_lock,
    pnpm_keeps_lock,
    yarn_keeps_lock,
)
from buildopt.dockerfile.ordering.needs import Needs, Question
from buildopt.dockerfile.ordering.node_scripts import script_files

_LOCKS = ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb")
_SETTINGS = {
    "npm": (".npmrc",),
    "yarn": (".npmrc", ".yarnrc", ".yarnrc.yml", ".yarnclean"),
    "pnpm": (".npmrc", ".pnpmfile.cjs", "pnpm-workspace.yaml"),
    "bun": (".npmrc", "bunfig.toml"),
}
_OWN_LOCK = {
    "npm": ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock"),
    "yarn": ("yarn.lock",),
    "pnpm": ("pnpm-lock.yaml",),
    "bun": ("bun.lock", "bun.lockb"),
}
_SECTIONS = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
_LIFECYCLE = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare")
# Packages whose own install scripts put hooks into the project that they are installed in.
_HOOKS = word_set(
    "husky yorkie lefthook ghooks pre-commit pre-push git-hooks simple-git-hooks @arkweid/lefthook "
    "@evilmartians/lefthook"
)
_FILE_SETTINGS = re.compile(
    r"^\s*(?:cafile|certfile|keyfile|onload-script|node-options|userconfig|globalconfig|prefix|script-shell|"
    r"inject-workspace-packages|install-links|store-dir|modules-dir|virtual-store-dir|global-pnpmfile|pnpmfile)\s*=",
    re.MULTILINE,
)
_LOCAL = re.compile(r"(?:file|link|portal):|\.{0,2}/|~/|[A-Za-z]:")


def _node(question: Question) -> Needs:
    tool, tree = question.install.tool, question.tree
    manifest = question.path("package.json")
    package = _read(question, manifest)
    _nothing_above(question)
    files = [manifest, *question.there(*_LOCKS, *_SETTINGS[tool])]
    _settings_are_plain(question)
    members = list(_members(question, package))
    for place in (manifest, *members):
        own = _read(question, place)
        files += [place, *_local_files(question, place, own)]
        files += _scripts(question, posixpath.dirname(place), own)
        if "injected" in json.dumps(own.get("dependenciesMeta", "")):
            raise Unknown(f"{tree.origin(place)} has packages of the project copied into its dependencies")
        folders = own.get("directories")
        if place != manifest and (own.get("bin") or (isinstance(folders, dict) and folders.get("bin"))):
            raise Unknown(f"{tree.origin(place)} has a bin, which the install links to and makes executable")
    files += _patches(question, package)
    if tool == "yarn":
        files += _yarn_files(question)
    made = [posixpath.join(posixpath.dirname(place), "node_modules") for place in (manifest, *members)]
    if tool == "yarn" and question.there(".yarnrc.yml"):
        made += [question.path(name) for name in (".pnp.cjs", ".pnp.loader.mjs", ".yarn/install-state.gz")]
        made += [question.path(name) for name in (".yarn/unplugged", ".yarn/build-state.yml")]
    rewritten = ""
    if question.ships and not _frozen(question):
        folders = {posixpath.relpath(posixpath.dirname(place), question.folder): place for place in members}
        read = {name: _read(question, place) for name, place in folders.items()}
        rewritten = _rewritten_lock(question, {".": package, **read})
    whole = [place for place in files if tree.kind(place) == "folder"]
    files = [place for place in files if not any(place.startswith(f"{folder}/") for folder in whole)]
    return Needs(tuple(dict.fromkeys(files)), tuple(made), rewritten=rewritten)


def _read(question: Question, place: str) -> Mapping[str, object]:
    text = question.tree.text(place)
    if text is None:
        raise Unknown(f"{place} does not come from the context")
    try:
        found = json_value(text)
    except ValueError:
        raise Unknown(f"{question.tree.origin(place)} cannot be read") from None
    if not isinstance(found, dict):
        raise Unknown(f"{question.tree.origin(place)} is no object")
    return found


def _mapping(package: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = package.get(key)
    return found if isinstance(found, dict) else {}


def _nothing_above(question: Question) -> None:
    """Folders above may make it a member of a workspace, or hold settings for it."""
    folder = question.folder
    while folder != "/":
        folder = posixpath.dirname(folder)
        for name in ("pnpm-workspace.yaml", ".yarnrc.yml", ".yarnrc", ".npmrc", "package.json", "yarn.lock"):
            place = posixpath.join(folder, name)
            if question.tree.kind(place) and (name != "package.json" or "workspaces" in _read(question, place)):
                raise Unknown(f"{question.tree.origin(place)} lies above the folder of the install, and may matter")


def _settings_are_plain(question: Question) -> None:
    for name in (".npmrc", ".yarnrc"):
        text = question.tree.text(question.path(name)) or ""
        found = _FILE_SETTINGS.search(text)
        if found is not None:
            raise Unknown(f"{name} sets {found.group().strip(' =')}")
        if name == ".yarnrc" and re.search(r"offline-mirror|modules-folder|cache-folder|--cwd", text):
            raise Unknown(".yarnrc names folders of the project")
    hook = question.tree.text(question.path(".pnpmfile.cjs"))
    if hook is not None and re.search(r"\brequire\s*\(|\bimport\b", hook):
        raise Unknown(".pnpmfile.cjs loads other files")
    bun = question.tree.text(question.path("bunfig.toml"))
    if bun is not None and re.search(r"preload|cafile|\bdir\s*=", bun):
        raise Unknown("bunfig.toml names files of the project")


def _members(question: Question, package: Mapping[str, object]) -> Iterator[str]:
    """The manifests of a workspace's members."""
    patterns: object = package.get("workspaces")
    if isinstance(patterns, dict):
        patterns = patterns.get("packages")
    listed = question.tree.text(question.path("pnpm-workspace.yaml"))
    if question.install.tool == "pnpm":
        patterns = None if listed is None else _yaml(listed, "pnpm-workspace.yaml").get("packages")
    if patterns is None:
        return
    if not isinstance(patterns, list) or not all(isinstance(item, str) for item in patterns):
        raise Unknown("the list of workspaces cannot be read")
    folders: list[str] = []
    for pattern in patterns:
        text = posixpath.normpath(str(pattern))
        if text.startswith(("!", "..", "/")) or any(char in text for char in "[]{}?"):
            raise Unknown(f"which workspaces {pattern} stands for is not known")
        folders += _folders(question, question.folder, text.split("/"))
    for folder in dict.fromkeys(folders):
        if question.tree.kind(posixpath.join(folder, "package.json")) and folder != question.folder:
            yield posixpath.join(folder, "package.json")


def _folders(question: Question, folder: str, parts: list[str], depth: int = 6) -> Iterator[str]:
    """The folders that a pattern such as ``packages/*`` stands for."""
    if not parts:
        yield folder
        return
    if parts[0] == "**":
        yield from _folders(question, folder, parts[1:], depth)
    for name in question.tree.names(folder):
        place = posixpath.join(folder, name)
        if name == "node_modules" or question.tree.kind(place) != "folder":
            continue
        if parts[0] == "**":
            if depth:
                yield from _folders(question, place, parts, depth - 1)
        elif fnmatchcase(name, parts[0]) and (not name.startswith(".") or parts[0].startswith(".")):
            yield from _folders(question, place, parts[1:], depth)


def _yaml(text: str, name: str) -> Mapping[str, object]:
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Unknown(f"{name} cannot be read") from None
    return found if isinstance(found, dict) else {}


def _local_files(question: Question, place: str, package: Mapping[str, object]) -> Iterator[str]:
    """The archives of the project that are dependencies; folders that are refuse it."""
    for section in (*_SECTIONS, "resolutions", "overrides"):
        for name, wanted in _mapping(package, section).items():
            if isinstance(wanted, dict):
                if _LOCAL.search(json.dumps(wanted).replace("://", "")):
                    raise Unknown(f"{section} of {name} may name files of the project")
                continue
            if not isinstance(wanted, str):
                continue
            for path in re.findall(r"patch:[^#]*#(?:~|\./|builtin<)?([^\"&:]*)", wanted):
                yield posixpath.normpath(posixpath.join(posixpath.dirname(place), path.split("::")[0].lstrip("/")))
            if wanted.startswith("patch:") or not _LOCAL.match(wanted):
                continue
            path = posixpath.normpath(posixpath.join(posixpath.dirname(place), wanted.removeprefix("file:")))
            if wanted.startswith("file:") and path.endswith((".tgz", ".tar.gz")) and question.tree.is_file(path):
                yield path
            else:
                raise Unknown(f"the dependency {name} is a folder of the project ({wanted})")


def _patches(question: Question, package: Mapping[str, object]) -> Iterator[str]:
    """What pnpm and bun are told to patch packages with."""
    found = [_mapping(package, "patchedDependencies"), _mapping(_mapping(package, "pnpm"), "patchedDependencies")]
    listed = question.tree.text(question.path("pnpm-workspace.yaml"))
    if listed is not None and question.install.tool == "pnpm":
        settings = _yaml(listed, "pnpm-workspace.yaml")
        found.append(_mapping(settings, "patchedDependencies"))
        strange = {"pnpmfile", "globalPnpmfile", "modulesDir", "virtualStoreDir", "storeDir", "configDependencies"}
        strange.add("injectWorkspacePackages")
        if strange & set(settings):
            raise Unknown("pnpm-workspace.yaml names other files")
    for patches in found:
        for path in patches.values():
            place = question.path(path) if isinstance(path, str) else "/"
            if not question.tree.is_file(place):
                raise Unknown(f"the patch {place} is not in the context")
            yield place


def _yarn_files(question: Question) -> Iterator[str]:
    """What the settings of yarn name, and the folder that later versions keep beside them."""
    old = question.tree.text(question.path(".yarnrc"))
    for path in re.findall(r"^\s*(?:yarn-path|\"yarn-path\")\s+\"?([^\"\n]+)", old or "", re.MULTILINE):
        yield question.path(path.strip())
    new = question.tree.text(question.path(".yarnrc.yml"))
    if new is None:
        return
    settings = _yaml(new, ".yarnrc.yml")
    kept = [name for name in question.tree.names(question.path(".yarn")) if name != "versions"]
    named = [settings.get("yarnPath")]
    plugins = settings.get("plugins")
    for item in plugins if isinstance(plugins, list) else ():
        named.append(item.get("path") if isinstance(item, dict) else item)
    for path in named:
        if isinstance(path, str) and not path.startswith(".yarn/"):
            yield question.path(path)
    for key in ("cacheFolder", "pnpDataPath", "patchFolder", "httpsCaFilePath", "constraintsPath", "lockfileFilename"):
        if key in settings:
            raise Unknown(f".yarnrc.yml sets {key}")
    if kept:
        yield question.path(".yarn")


def _scripts(question: Question, folder: str, package: Mapping[str, object]) -> Iterator[str]:
    """What the scripts around an install read: the project's own, and those of packages that look at the project."""
    tool = question.install.tool
    used = {name for section in _SECTIONS[:3] for name in _mapping(package, section)}
    if "msw" in used and "msw" in package:
        raise Unknown("the install script of msw copies a worker into the project")
    if question.tree.kind(question.path("nx.json")) and any(re.match(r"nx$|@nx/|@nrwl/", name) for name in used):
        raise Unknown("the install script of nx reads the whole workspace")
    for name in question.tree.names(folder):
        if ("puppeteer" in used or "puppeteer-core" in used) and re.match(r"\.?puppeteer(?:rc|\.config)", name):
            yield posixpath.join(folder, name)
    ignoring = question.has("--ignore-scripts") and "--ignore-scripts=false" not in question.install.command.texts
    settings = question.tree.text(question.path(".npmrc")) or ""
    if ignoring or re.search(r"^\s*ignore-scripts\s*=\s*true", settings, re.MULTILINE):
        return
    git = _git(question)
    if used & _HOOKS and git:
        raise Unknown("a package of the project puts hooks into .git, which the context holds: ignore .git")
    schemas = [posixpath.join(folder, name) for name in ("prisma/schema.prisma", "schema.prisma")]
    if used & {"@prisma/client", "prisma"} or any(question.tree.kind(place) for place in schemas):
        yield from _told(question, folder, package, "the install script of @prisma/client", "prisma generate", git)
    scripts = _mapping(package, "scripts")
    if question.tree.kind(posixpath.join(folder, "binding.gyp")) and not {"install", "preinstall"} & scripts.keys():
        raise Unknown("binding.gyp makes the install compile the project")
    names = (*_LIFECYCLE, *(("pnpm:devPreinstall",) if tool == "pnpm" else ("dependencies",) if tool == "npm" else ()))
    for name in names:
        text = scripts.get(name)
        if isinstance(text, str) and text.strip():
            yield from _told(question, folder, package, f"the script {name} of package.json", text, git)


def _told(
    question: Question, folder: str, package: Mapping[str, object], what: str, text: str, git: bool
) -> Iterator[str]:
    try:
        yield from script_files(question, folder, package, text, git=git, depth=0)
    except Unknown as unknown:
        raise Unknown(f"{what} {unknown}") from None


def _git(question: Question) -> bool:
    """Whether the sources bring a repository along, in the folder or above."""
    folder = question.folder
    while True:
        if question.tree.kind(posixpath.join(folder, ".git")):
            return True
        if folder == "/":
            return False
        folder = posixpath.dirname(folder)


def _frozen(question: Question) -> bool:
    """Whether the command leaves the lockfile alone whatever it finds."""
    command = question.install.command
    if question.install.tool == "npm":
        return command.texts[:1] in (("ci",), ("clean-install",), ("install-clean",)) or question.has(
            "--no-save", "--no-package-lock"
        )
    return question.has(
        "--frozen-lockfile", "--pure-lockfile", "--immutable", "--no-lockfile", "--no-save", "--production=true"
    ) and not question.has("--no-frozen-lockfile", "--no-immutable")


def _rewritten_lock(question: Question, members: Manifests) -> str:
    """The lockfile that the install may write anew, which the later copy of the sources would take back, or nothing.

    Raises Unknown where something may read it afterwards.
    """
    tool = question.install.tool
    keeps = {"npm": npm_keeps_lock, "yarn": yarn_keeps_lock, "pnpm": pnpm_keeps_lock, "bun": bun_keeps_lock}
    for place in question.there(*_OWN_LOCK[tool]):
        name = posixpath.basename(place)
        reason = keeps[tool](question, members, place)
        # Later versions of Yarn look at it whenever they run a script.
        read = question.again or tool == "bun" or "__metadata:" in (question.tree.text(place) or "")
        if reason and read:
            raise Unknown(f"{name} {reason} by the install, which the later copy would undo")
        if reason:
            return name
    return ""


READERS = dict.fromkeys(("npm", "yarn", "pnpm", "bun"), _node)
