"""What pip, poetry, uv, pdm and pipenv read of a project when they install its dependencies."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from buildopt.dockerfile import packages
from buildopt.dockerfile.ordering.copied_files import Unknown
from buildopt.dockerfile.ordering.needs import Needs, Question

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ENVIRONMENTS = (".venv", "venv", "env", "__pypackages__")
_TARGETS = ("-t", "--target", "--prefix", "--root")
# Options of a requirements file that name no file of the project.
_PLAIN_OPTIONS = re.compile(
    r"(?:-i|--index-url|--extra-index-url|--pre|--prefer-binary|--no-index|--trusted-host|--no-binary|--only-binary|"
    r"--require-hashes|--use-feature|--pypi-url)\b"
)


def _pip(question: Question) -> Needs:
    call = packages.call(question.install.command)
    if call is None:
        raise Unknown("this command cannot be read")
    files: list[str] = []
    for option in call.options:
        text = option.value.text if option.value is not None else None
        if option.name in ("-r", "--requirement", "-c", "--constraint") and text is not None:
            files += _requirements(question, question.path(text), ())
        elif option.name in ("-e", "--editable", "--src", "--cert", "--client-cert", "--build-constraint", "--group"):
            raise Unknown(f"pip is given {option.name}")
        elif option.name in ("-f", "--find-links") and "://" not in (text or ""):
            raise Unknown(f"pip finds packages in {text}")
        elif option.name in _TARGETS and (text is None or question.tree.touches(question.path(text))):
            raise Unknown(f"pip installs into {text}, where sources go too")
    for word in call.operands:
        if word.text is None or word.glob or "/" in word.text or word.text.startswith("."):
            raise Unknown(f"{word.raw} may be of the project")
    return Needs(tuple(dict.fromkeys(files)))


def _requirements(question: Question, place: str, above: tuple[str, ...]) -> Iterator[str]:
    """A requirements file and those that it includes."""
    text = question.tree.text(place)
    if text is None:
        raise Unknown(f"{place} does not come from the context")
    yield place
    shown = question.tree.origin(place)
    for line in re.sub(r"\\\r?\n", "", text).splitlines():
        line = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if not line:
            continue
        included = re.match(r"(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s*)(\S+)$", line)
        if included is not None:
            path = included[1].strip("\"'")
            if "://" in path:
                continue
            following = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
            if following in above or "$" in path or len(above) > 8:
                raise Unknown(f"{shown} includes {path}")
            yield from _requirements(question, following, (*above, place))
        elif line.startswith("-"):
            local = re.match(r"(?:-f|--find-links)(?:\s*=\s*|\s*)\S+://", line)
            if _PLAIN_OPTIONS.match(line) is None and local is None:
                raise Unknown(f"{shown} holds `{line[:60]}`, which may need the sources")
        elif not _is_named(line):
            raise Unknown(f"{shown} names `{line[:60]}`, which is of the project")


def _is_named(line: str) -> bool:
    """Whether a requirement is one by name, or by an address that is not of this machine."""
    if re.match(r"(?:git|hg|svn|bzr)\+(?:https?|ssh|git)://|https?://", line):
        return True
    name, at, address = line.partition("@")
    if at and re.match(r"\s*(?:\w+\+)?(?:https?|ssh|git)://", address):
        return re.fullmatch(r"[\w.-]+\s*(?:\[[^\]]*\])?\s*", name) is not None
    wanted = line.split(";")[0].split(" --")[0]
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*\s*(?:\[[^\]/]*\])?[^/@\\$]*", wanted) is not None and not re.search(
        r"\.(?:whl|zip|tar\.\w+|tgz)$", wanted.strip()
    )


def _document(question: Question, name: str) -> Mapping[str, Any]:
    text = question.tree.text(question.path(name))
    if text is None:
        raise Unknown(f"{question.path(name)} does not come from the context")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        raise Unknown(f"{name} cannot be read") from None


def _at(document: Any, *keys: str) -> Any:
    """What lies there in nested tables, None where nothing does."""
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _table(document: Any, *keys: str) -> Mapping[str, Any]:
    """The table that lies there, an empty one where nothing does. Raises Unknown where it is something else."""
    found = _at(document, *keys)
    if found is not None and not isinstance(found, Mapping):
        raise Unknown(f"{'.'.join(keys)} is no table")
    return found or {}


def _tables(document: Mapping[str, Any], *keys: str) -> list[Mapping[str, Any]]:
    """The list of tables that lies there, an empty one where nothing does. Raises Unknown as ``_table`` does."""
    found = _at(document, *keys)
    if found is not None and not (isinstance(found, list) and all(isinstance(item, Mapping) for item in found)):
        raise Unknown(f"{'.'.join(keys)} is no list of tables")
    return found or []


def _no_own_packages(value: Any, where: str) -> None:
    """Raise where a table of dependencies names a path."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name in ("path", "develop", "editable", "workspace", "directory") and item is not False:
                raise Unknown(f"{where} names a dependency by {name}")
            _no_own_packages(item, where)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, str) and re.search(r"@\s*(?:file:|\.)|\{root:|^\.|^-e\b", item):
                raise Unknown(f"{where} names a dependency of the project: {item}")
            _no_own_packages(item, where)


def _declared(document: Mapping[str, Any]) -> None:
    for keys in (
        ("project", "dependencies"),
        ("project", "optional-dependencies"),
        ("dependency-groups",),
        ("tool", "poetry", "dependencies"),
        ("tool", "poetry", "dev-dependencies"),
        ("tool", "poetry", "group"),
        ("tool", "uv", "sources"),
        ("tool", "uv", "dev-dependencies"),
        ("tool", "pdm", "dev-dependencies"),
    ):
        _no_own_packages(_at(document, *keys), "pyproject.toml")


def _poetry(question: Question) -> Needs:
    document = _document(question, "pyproject.toml")
    _declared(document)
    tool = _table(document, "tool")
    if any("versioning" in name for name in tool) or _at(tool, "poetry", "requires-plugins"):
        raise Unknown("a plugin of poetry may look at the project")
    lock = question.tree.text(question.path("poetry.lock"))
    if lock is not None and re.search(r"^type = \"(?:directory|file)\"", lock, re.MULTILINE):
        raise Unknown("poetry.lock names folders or files of the project")
    files = question.there("pyproject.toml", "poetry.lock", "poetry.toml")
    made = tuple(question.path(name) for name in _ENVIRONMENTS[:2])
    if question.has("--no-root") or _at(tool, "poetry", "package-mode") is False:
        return Needs(files, made)
    if question.has("--only-root"):
        raise Unknown("it installs nothing but the project")
    return Needs(files, made, ("--no-root",), again=True)


def _uv(question: Question) -> Needs:
    document = _document(question, "pyproject.toml")
    _declared(document)
    uv = _table(document, "tool", "uv")
    if "workspace" in uv:
        raise Unknown("the project is a workspace of uv")
    _nothing_above(question, "pyproject.toml", "uv.toml")
    frozen = question.has("--frozen", "--locked", "--no-sync") or any(
        (question.variable(name) or "").lower() in ("1", "true", "yes", "on") for name in ("UV_FROZEN", "UV_LOCKED")
    )
    dynamic = _at(document, "project", "dynamic")
    if dynamic and not question.has("--frozen") and (dynamic != ["version"] or not frozen):
        raise Unknown("pyproject.toml leaves metadata to a build of the sources")
    lock = question.there("uv.lock")
    if lock and question.ships and not frozen and not _uv_keeps_lock(question, document):
        raise Unknown("uv.lock may be rewritten by the install, which the later copy would undo: use --locked")
    text = question.tree.text(question.path("uv.lock"))
    if text is not None and re.search(r"source = \{ (?:directory|path|editable) = \"(?!\.\")", text):
        raise Unknown("uv.lock names folders or files of the project")
    files = (*question.there("pyproject.toml"), *lock, *question.there(".python-version", "uv.toml"))
    made = (question.path(".venv"),)
    packaged = uv.get("package", "build-system" in document)
    if not packaged or question.has("--no-install-project", "--no-install-workspace"):
        return Needs(files, made)
    return Needs(files, made, ("--no-install-project",), again=True)


def _uv_keeps_lock(question: Question, document: Mapping[str, Any]) -> bool:
    """Whether what uv.lock says of the project is what pyproject.toml says."""
    try:
        lock = tomllib.loads(question.tree.text(question.path("uv.lock")) or "")
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
    root = next(
        (item for item in _tables(lock, "package") if _table(item, "source").keys() & {"virtual", "editable"}), None
    )
    project = _table(document, "project")
    if root is None or "optional-dependencies" in project or "dependency-groups" in document:
        return False
    if lock.get("requires-python") != project.get("requires-python") or root.get("version") != project.get("version"):
        return False
    if root.get("name") != re.sub(r"[-_.]+", "-", str(project.get("name", ""))).lower() or _at(document, "tool", "uv"):
        return False
    listed = _tables(root, "metadata", "requires-dist")
    found = sorted(
        f"{item.get('name')}{item.get('specifier', '')}" for item in listed if not item.keys() - {"name", "specifier"}
    )
    wanted = sorted(
        re.sub(r"[-_.]+", "-", re.split(r"[<>=!~]", item)[0].strip()).lower()
        + item[len(re.split(r"[<>=!~]", item)[0]) :]
        for item in _texts(project.get("dependencies", []))
    )
    return len(found) == len(listed) and found == [item.replace(" ", "") for item in wanted]


def _texts(value: Any) -> list[str]:
    """A list of strings. Raises Unknown where it is none."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Unknown("the dependencies in pyproject.toml are no list of strings")
    return value


def _nothing_above(question: Question, *names: str) -> None:
    folder = question.folder
    while folder != "/":
        folder = posixpath.dirname(folder)
        for name in names:
            if question.tree.kind(posixpath.join(folder, name)):
                raise Unknown(
                    f"{question.tree.origin(posixpath.join(folder, name))} lies above the install, and may matter"
                )


def _pdm(question: Question) -> Needs:
    document = _document(question, "pyproject.toml")
    _declared(document)
    if _at(document, "tool", "pdm", "version"):
        raise Unknown("pdm looks for the version of the project in its sources")
    lock = question.there("pdm.lock")
    kept = question.has("--frozen-lockfile", "--no-lock") or "sync" in question.install.command.texts
    if lock and question.ships and not kept:
        raise Unknown("pdm.lock may be rewritten by the install, which the later copy would undo: use pdm sync")
    if re.search(r"^(?:path|editable) = ", question.tree.text(question.path("pdm.lock")) or "", re.MULTILINE):
        raise Unknown("pdm.lock names folders or files of the project")
    files = (*question.there("pyproject.toml"), *lock, *question.there("pdm.toml", ".python-version"))
    made = tuple(question.path(name) for name in (".venv", "__pypackages__", ".pdm-python"))
    if question.has("--no-self") or (
        not _at(document, "tool", "pdm", "distribution") and "build-system" not in document
    ):
        return Needs(files, made)
    return Needs(files, made, ("--no-self",), again=True)


def _pipenv(question: Question) -> Needs:
    document = _document(question, "Pipfile")
    for name in ("packages", "dev-packages"):
        _no_own_packages(document.get(name), "Pipfile")
    lock = question.there("Pipfile.lock")
    kept = question.has("--deploy", "--ignore-pipfile") or "sync" in question.install.command.texts
    if lock and question.ships and not kept:
        raise Unknown("Pipfile.lock may be rewritten by the install, which the later copy would undo: use --deploy")
    text = question.tree.text(question.path("Pipfile.lock")) or ""
    if re.search(r"\"(?:path|file)\": \"(?!https?:)|\"editable\": true", text):
        raise Unknown("Pipfile.lock names folders or files of the project")
    return Needs((question.path("Pipfile"), *lock), (question.path(".venv"),))


READERS = {"pip": _pip, "poetry": _poetry, "uv": _uv, "pdm": _pdm, "pipenv": _pipenv}
