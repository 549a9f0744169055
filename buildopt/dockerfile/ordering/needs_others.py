"""What go, bundler, composer, dotnet, maven and mix read of a project when they install its dependencies."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from buildopt.dockerfile.files import json_value
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.ordering.copied_files import Unknown
from buildopt.dockerfile.ordering.needs import Needs, Question


def _text(question: Question, place: str) -> str:
    text = question.tree.text(place)
    if text is None:
        raise Unknown(f"{place} does not come from the context")
    return text


# ---- go


def _go(question: Question) -> Needs:
    workspace = _go_workspace(question)
    if workspace is not None:
        return Needs(workspace)
    if question.has("-modfile", "--modfile"):
        raise Unknown("the command names another go.mod")
    module = question.path("go.mod")
    text = _text(question, module)
    files = [module, *question.there("go.sum"), *_replaced(question, question.folder, text)]
    missing = _unsummed(question, text)
    if missing and question.there("go.sum"):
        raise Unknown(f"go.sum lacks {missing}, so the download may add to it, which the later copy would undo")
    return Needs(tuple(dict.fromkeys(files)))


def _go_workspace(question: Question) -> tuple[str, ...] | None:
    """The files of ``go.work`` and of the modules that it uses; None where there is none."""
    if (question.variable("GOWORK") or "") == "off":
        return None
    folder = question.folder
    while not question.tree.is_file(posixpath.join(folder, "go.work")):
        if folder == "/":
            return None
        folder = posixpath.dirname(folder)
    text = _text(question, posixpath.join(folder, "go.work"))
    files = [posixpath.join(folder, "go.work")]
    if question.tree.is_file(posixpath.join(folder, "go.work.sum")):
        files.append(posixpath.join(folder, "go.work.sum"))
    block = "\n".join(re.findall(r"^use\s*\(([^)]*)\)", text, re.MULTILINE))
    used = re.findall(r"^\s*([^\s/][^\s]*|\./\S*)", re.sub(r"//.*", "", block), re.MULTILINE)
    used += re.findall(r"^use\s+([^\s(]\S*)", text, re.MULTILINE)
    if "replace" in re.sub(r"//.*", "", text):
        raise Unknown("go.work replaces modules")
    for name in used:
        place = posixpath.normpath(posixpath.join(folder, name.strip('"')))
        manifest = posixpath.join(place, "go.mod")
        files += [manifest, *_replaced(question, place, _text(question, manifest))]
        if question.tree.is_file(posixpath.join(place, "go.sum")):
            files.append(posixpath.join(place, "go.sum"))
    return tuple(dict.fromkeys(files))


def _replaced(question: Question, folder: str, text: str) -> Iterator[str]:
    """The manifests of the modules that a replace directive finds in the project."""
    for path in re.findall(r"=>\s*\"?(\.{1,2}(?:/[^\s\"]*)?|/[^\s\"]+)", re.sub(r"//.*", "", text)):
        manifest = posixpath.normpath(posixpath.join(folder, path, "go.mod"))
        if not question.tree.is_file(manifest):
            raise Unknown(f"go.mod replaces a module by {path}, which has no go.mod in the context")
        yield manifest


def _unsummed(question: Question, text: str) -> str:
    """A module that go.mod asks for directly, and go.sum does not know."""
    sums = question.tree.text(question.path("go.sum")) or ""
    replaced = set(re.findall(r"^\s*(?:replace\s+)?(\S+)(?:\s+v\S+)?\s+=>", text, re.MULTILINE))
    for line in re.findall(r"^\s*(?:require\s+)?([^\s/]+\.\S+\s+v\S+)\s*$", text, re.MULTILINE):
        name, version = line.split()
        if name not in replaced and f"{name} {version} h1:" not in sums:
            return str(name)
    return ""


# ---- bundler

_RUBY_FILE = re.compile(
    r"\b(?:File|Dir|IO|Pathname|Bundler|Gem::Specification|Kernel|Open3)\b|`|%x|\bsystem\b|\bexec\b"
)


def _bundle(question: Question) -> Needs:
    gemfile = question.path("Gemfile")
    if question.variable("BUNDLE_GEMFILE") is not None or "BUNDLE_GEMFILE" in question.scope.args:
        raise Unknown("BUNDLE_GEMFILE says which Gemfile counts")
    files = [gemfile, *question.there("Gemfile.lock")]
    names: set[str] = set()
    for place in _gemfiles(question, gemfile, ()):
        files.append(place)
        text = re.sub(r"^\s*#.*", "", _text(question, place), flags=re.MULTILINE)
        names.update(re.findall(r"^\s*gem[\s(]+[\"']([^\"']+)[\"']", text, re.MULTILINE))
        files += _ruby_versions(question, place, text)
    lock = question.tree.text(question.path("Gemfile.lock"))
    if lock is not None and question.ships and not _bundle_frozen(question) and not _bundle_fits(lock, names):
        raise Unknown("Gemfile.lock may be rewritten by the install, which the later copy would undo")
    if question.tree.kind(question.path("vendor/cache")):
        raise Unknown("vendor/cache holds packages of the project")
    made = tuple(question.path(name) for name in (".bundle", "vendor/bundle", "vendor/ruby"))
    return Needs(tuple(dict.fromkeys(files)), made)


def _gemfiles(question: Question, place: str, above: tuple[str, ...]) -> Iterator[str]:
    yield place
    text = re.sub(r"^\s*#.*", "", _text(question, place), flags=re.MULTILINE)
    found = re.search(
        r"^\s*gemspec\b|\bpath:|:path\s*=>|^\s*path\s|\brequire(?:_relative)?\b|\bload\b", text, re.MULTILINE
    )
    plain = re.sub(r"File\.read\(?\s*[\"']\.(?:ruby-version|tool-versions)[\"']\)?", "", text)
    found = found or re.search(r"\beval\b|\binstance_eval\b|__dir__|__FILE__", text) or _RUBY_FILE.search(plain)
    if found is not None:
        raise Unknown(f"{question.tree.origin(place)} speaks of `{found.group().strip()}`, so it may need the sources")
    for path in re.findall(r"\beval_gemfile[\s(]+[\"']([^\"']+)[\"']", text):
        following = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
        if following in above or following == place:
            raise Unknown("Gemfile includes itself")
        yield from _gemfiles(question, following, (*above, place))


def _ruby_versions(question: Question, place: str, text: str) -> Iterator[str]:
    for name in (".ruby-version", ".tool-versions"):
        if name in text and question.tree.is_file(posixpath.join(posixpath.dirname(place), name)):
            yield posixpath.join(posixpath.dirname(place), name)


def _bundle_frozen(question: Question) -> bool:
    if question.has("--deployment", "--frozen"):
        return True
    return any(question.variable(name) in ("1", "true") for name in ("BUNDLE_DEPLOYMENT", "BUNDLE_FROZEN")) or bool(
        re.search(r"bundle config (?:set )?(?:--\w+ )?(?:deployment|frozen)\b[ =']+(?:true|1)", question.text)
    )


def _bundle_fits(lock: str, names: set[str]) -> bool:
    sections = {part.split("\n", 1)[0].strip(): part for part in re.split(r"\n(?=[A-Z])", lock)}
    wanted = re.findall(r"^  (\S+?)!?(?: \(.*\))?$", sections.get("DEPENDENCIES", ""), re.MULTILINE)
    platforms = re.findall(r"^  (\S+)$", sections.get("PLATFORMS", ""), re.MULTILINE)
    fitting = bool({"ruby", "x86_64-linux"} & set(platforms))
    return set(wanted) == names and fitting and "PATH" not in sections


# ---- composer

_PLUGINS = word_set(
    "symfony/flex symfony/runtime php-http/discovery composer/package-versions-deprecated ocramius/package-versions "
    "pestphp/pest-plugin dealerdirect/phpcodesniffer-composer-installer phpstan/extension-installer "
    "infection/extension-installer kylekatarnls/update-helper ergebnis/composer-normalize tbachert/spi"
)
_EARLY_EVENTS = re.compile(
    r"(?:pre|post)-package-\w+|pre-(?:pool-create|operations-exec|file-download|install-cmd)|post-file-download"
)


def _composer(question: Question) -> Needs:
    manifest = question.path("composer.json")
    text = _text(question, manifest)
    try:
        document = json_value(text)
        lock = json_value(question.tree.text(question.path("composer.lock")) or "null")
    except ValueError:
        raise Unknown("composer.json or composer.lock cannot be read") from None
    if not isinstance(document, dict) or not isinstance(lock, dict):
        raise Unknown("without composer.lock it is not known what is installed")
    for item in _packages(lock):
        if item.get("type") == "composer-plugin" and item.get("name") not in _PLUGINS:
            raise Unknown(f"the plugin {item.get('name')} may look at the project")
        if _table(item, "dist").get("type") == "path":
            raise Unknown(f"{item.get('name')} is a folder of the project")
    if re.search(r"\"type\":\s*\"(?:path|artifact)\"", text):
        raise Unknown("composer.json names packages of the project")
    extra = _table(document, "extra")
    strange = {"patches", "patches-file", "installer-paths", "merge-plugin", "wordpress-install-dir"} & set(extra)
    if strange:
        raise Unknown(f"composer.json sets {sorted(strange)[0]}")
    scripts = _table(document, "scripts")
    event = next((name for name in scripts if _EARLY_EVENTS.fullmatch(name)), None)
    if event is not None:
        raise Unknown(f"composer.json has a script for {event}")
    config = _table(document, "config")
    if {"vendor-dir", "bin-dir", "cafile", "capath"} & set(config):
        raise Unknown("composer.json puts its folders elsewhere")
    files = (manifest, *question.there("composer.lock", "symfony.lock", "auth.json"))
    options = tuple(name for name in ("--no-scripts", "--no-autoloader") if not question.has(name))
    return Needs(files, (question.path("vendor"),), options, again=bool(options))


def _packages(lock: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The packages of a composer.lock. Raises Unknown where its lists are none."""
    for section in (lock.get("packages") or [], lock.get("packages-dev") or []):
        if not isinstance(section, list) or not all(isinstance(item, dict) for item in section):
            raise Unknown("composer.lock cannot be read")
        yield from section


def _table(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    """An object in a document, empty where there is none (PHP writes those as lists). Raises Unknown."""
    found = document.get(key) or {}
    if not isinstance(found, dict):
        raise Unknown(f"{key} of composer.json or composer.lock cannot be read")
    return found


# ---- the rest


def _maven(question: Question) -> Needs:
    if question.has("-s", "--settings", "-gs", "--global-settings", "-pl", "--projects"):
        raise Unknown("an option of maven names files of the project")
    files = list(_poms(question, question.path("pom.xml"), set()))
    if question.tree.kind(question.path(".mvn")):
        files.append(question.path(".mvn"))
    files += question.there("mvnw")
    made = tuple(posixpath.join(posixpath.dirname(place), "target") for place in files if place.endswith(".xml"))
    return Needs(tuple(dict.fromkeys(files)), made)


def _poms(question: Question, place: str, seen: set[str]) -> Iterator[str]:
    if place in seen:
        return
    seen.add(place)
    text = re.sub(r"<!--.*?(?:-->|\Z)", "", _text(question, place), flags=re.DOTALL)
    yield place
    folder = posixpath.dirname(place)
    for module in re.findall(r"<module>\s*([^<\s]+)\s*</module>", text):
        if "$" in module:
            raise Unknown(f"pom.xml has the module {module}")
        below = posixpath.normpath(posixpath.join(folder, module))
        yield from _poms(question, below if below.endswith(".xml") else posixpath.join(below, "pom.xml"), seen)
    parent = re.search(r"<parent>(.*?)</parent>", text, re.DOTALL)
    if parent is not None:
        path = re.search(r"<relativePath>\s*([^<\s]+)\s*</relativePath>", parent[1])
        if path is None and "<relativePath/>" in parent[1].replace(" ", ""):
            return
        above = posixpath.normpath(posixpath.join(folder, path[1] if path else "../pom.xml"))
        above = above if above.endswith(".xml") else posixpath.join(above, "pom.xml")
        if question.tree.is_file(above):
            yield from _poms(question, above, seen)
    if re.search(r"<systemPath>|\$\{(?:project\.)?basedir\}[^<]*</(?:url|file)>|<url>\s*file:", text):
        raise Unknown("pom.xml names files of the project")


def _dotnet(question: Question) -> Needs:
    operand = posixpath.basename(question.install.reads)
    folder = posixpath.dirname(posixpath.normpath(posixpath.join(question.folder, question.install.reads)))
    starts = [posixpath.join(folder, operand)]
    if "*" in operand:
        names = question.tree.names(folder)
        starts = [posixpath.join(folder, name) for name in names if name.endswith((".sln", ".slnx"))]
        starts = starts or [posixpath.join(folder, name) for name in names if re.search(r"\.(?:cs|fs|vb)proj$", name)]
        if len(starts) != 1:
            raise Unknown("which project is restored is not known")
    if question.has("--configfile", "--packages", "--source", "-s", "--use-lock-file"):
        raise Unknown("an option of dotnet may name files of the project")
    files: dict[str, None] = {}
    for start in starts:
        for place in _projects(question, start, set()):
            files[place] = None
            files.update(dict.fromkeys(_beside(question, posixpath.dirname(place))))
    made = [
        posixpath.join(posixpath.dirname(place), name)
        for place in files
        if place.endswith("proj")
        for name in ("obj", "bin")
    ]
    return Needs(tuple(files), tuple(dict.fromkeys(made)))


_PROPERTIES = re.compile(
    r"(?i)(?:directory\.(?:build|packages|solution)\.(?:props|targets|rsp)|nuget\.config|global\.json|"
    r"packages\.lock\.json)"
)


# What MSBuild asks the file system for.
_LOOKS_ABOUT = re.compile(r"System\.IO|GetPathOfFileAbove|GetDirectoryNameOfFileAbove|\bExists\s*\(", re.IGNORECASE)
# A source of packages, or any other value, that is a folder.
_LOCAL_FEED = re.compile(
    r"<packageSources>(?:(?!</packageSources>).)*?value\s*=\s*[\"'](?!https?:)|"
    r"value\s*=\s*[\"'](?!https?:)[^\"']*[/\\.]",
    re.IGNORECASE | re.DOTALL,
)


def _beside(question: Question, folder: str) -> Iterator[str]:
    """What MSBuild and NuGet look for in the folder of a project and above."""
    while True:
        for name in question.tree.names(folder):
            place = posixpath.join(folder, name)
            if _PROPERTIES.fullmatch(name):
                text = _text(question, place)
                if _LOOKS_ABOUT.search(text) or re.search(r"<Import\s", text):
                    raise Unknown(f"{question.tree.origin(place)} reads other files")
                if name.lower() == "nuget.config" and _LOCAL_FEED.search(text):
                    raise Unknown(f"{question.tree.origin(place)} names folders of the project")
                yield place
        if folder == "/":
            return
        folder = posixpath.dirname(folder)


def _projects(question: Question, place: str, seen: set[str]) -> Iterator[str]:
    """A project or solution and all that it refers to."""
    if place in seen:
        return
    seen.add(place)
    text = _text(question, place)
    yield place
    folder = posixpath.dirname(place)
    if place.endswith(".slnx"):
        found = re.findall(r"<Project\s+Path=\"([^\"]+)\"", text)
    elif place.endswith(".sln"):
        found = re.findall(r"^Project\(.*?\)\s*=\s*\"[^\"]*\",\s*\"([^\"]+)\"", text, re.MULTILINE)
        found = [path for path in found if re.search(r"\.\w+proj$", path)]
    else:
        if _LOOKS_ABOUT.search(text) or re.search(r"<Import\s|HintPath|<Exec\b|Sdk\.props", text):
            raise Unknown(f"{question.tree.origin(place)} refers to other files")
        found = re.findall(r"<ProjectReference\s[^>]*?Include\s*=\s*[\"']([^\"']+)[\"']", text)
    for path in found:
        following = posixpath.normpath(posixpath.join(folder, path.replace("\\", "/")))
        if "$(" in path or "*" in path or not re.search(r"\.(?:cs|fs|vb)proj$", path):
            raise Unknown(f"{question.tree.origin(place)} refers to {path}")
        yield from _projects(question, following, seen)


def _mix(question: Question) -> Needs:
    text = re.sub(r"#.*", "", _text(question, question.path("mix.exs")))
    found = re.search(r"\bFile\.|\bpath:|apps_path|\bCode\.|System\.cmd|\bumbrella|in_umbrella|\bimport\b", text)
    if found is not None:
        raise Unknown(f"mix.exs speaks of `{found.group()}`, so it may need the sources")
    lock = question.tree.text(question.path("mix.lock"))
    names = re.findall(r"\{:(\w+),\s*(?:\"|~|git:|github:|>=)", text)
    if lock is not None and question.ships and not all(f'"{name}":' in lock for name in names):
        raise Unknown("mix.lock may be rewritten, which the later copy would undo")
    if question.tree.kind(question.path("config")):
        return Needs(
            (question.path("mix.exs"), *question.there("mix.lock"), question.path("config")), (question.path("deps"),)
        )
    return Needs((question.path("mix.exs"), *question.there("mix.lock")), (question.path("deps"),))


READERS = {
    "go": _go,
    "bundle": _bundle,
    "composer": _composer,
    "mvn": _maven,
    "mvnw": _maven,
    "dotnet": _dotnet,
    "mix": _mix,
}
