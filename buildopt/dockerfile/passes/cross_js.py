"""JavaScript that is built once for all platforms: bundles and static sites."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from buildopt.dockerfile.files import json_value, read_text
from buildopt.dockerfile.installs import compiled
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.passes.cross_families import Family, Ready, Taken, check, command_problem, commands
from buildopt.dockerfile.passes.state import states
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits.splits import No

_JS = frozenset(("npm", "yarn", "pnpm", "bun"))
_MANAGING = word_set("install i ci clean-install rebuild prune add config set cache login logout version fetch") | {""}
_GLOBAL_TOOLS = re.compile(
    r"(?:npm|pnpm|yarn|corepack|@(?:angular|vue|nestjs|quasar|ionic)/cli|typescript|vite|react-scripts|gulp(?:-cli)?"
    r"|grunt-cli|webpack(?:-cli)?|rimraf)(?:@.*)?"
)
# Folders that bundlers and compilers make, by their usual names.
_OUTPUTS = word_set("dist build out public www _site site browser html output")
_PLAIN_FILES = re.compile(
    r".*\.(?:json|html|css|[cm]?[jt]s|lock|conf|ya?ml|txt|md|svg|ico|png|webmanifest|template|toml|ini)"
)
# What makes something else on another platform, or a program of its own.
_BOUND = re.compile(
    r"\bsharp\b|imagemin|squoosh|\bcanvas\b|puppeteer|electron|\bnexe\b|\bpkg\s|\"pkg\"|caxa|--compile\b"
    r"|deno compile|neutralino|tauri|node-gyp|prebuild|wasm-pack|\bcargo\b|\bgo build\b|\bmake\b|\.node\b(?!\.)"
    r"|postject|process\.arch|os\.arch|uname|docker|\.sh\b|\bbash\b|gatsby-plugin-(?:sharp|image)|next/image|astro:assets"
)
_BROWSER = re.compile(
    r"\b(?:react-scripts build|vite build(?!.*--ssr)|vue-cli-service build|ng build|parcel build|webpack|rollup"
    r"|rspack build|rsbuild build|craco build|ember build|svelte-kit build|vitepress build|vuepress build"
    r"|next build|next export|nuxt generate|docusaurus build|eleventy|hexo generate|gulp|grunt|snowpack build"
    r"|preact build|umi build|max build|tsc)\b"
)
_FOR_NODE = re.compile(
    r"(?:\s|&&|(?:rimraf|rm -rf|del-cli) [\w./\"'-]+|(?:tsc|tspc|tsc-alias|nest build|swc|babel)\b[^&|;$`]*)+"
)
_MAX_MANIFESTS = 60


def ready(family: Family) -> Ready | None:
    """What to do for a family on the node image; None where it builds nothing. Raises No."""
    builds = [run for run, command, _ in commands(family) if _builds(command)]
    if builds and family.context is None:
        raise No(builds[0].instruction, "package.json says what the build makes: give --context")
    try:
        _understood(family)
    except No:
        if builds:
            raise
        return None
    if family.context is None or not builds:
        why = "what it installs is used there alone"
        return Ready(family, "the modules are installed on the builder's own platform", why, mixed=True, helper=True)
    for path in _manifests(family.context):
        text = _text(path)
        bound = _BOUND.search(_building_parts(text))
        if bound is not None:
            name = path.relative_to(family.context).as_posix()
            raise No(
                builds[0].instruction, f"{name} speaks of {bound.group().strip()}: what it makes may have a platform"
            )
    return Ready(
        family,
        "the scripts are built on the builder's own platform",
        "what they make has no platform: it is built once, and nothing is emulated",
        mixed=True,
        lines=tuple(run.instruction.lines[1] for run in builds),
    )


def _builds(command: Command) -> bool:
    """Whether a command makes a bundle or a site: a build script, or a bundler by its own name."""
    return (compiled(command) or ("",))[0] == "node" or bool(_bundler(command))


def _bundler(command: Command) -> str:
    """The command line of a bundler that is started without a script; empty for anything else."""
    words = [word.raw for word in command.argv[1:] if command.name == "npx"] or [word.raw for word in command.argv]
    text = " ".join([word for word in words if word not in ("-y", "--yes", "--no-install", "--no")])
    return text if _BROWSER.match(text) else ""


def _understood(family: Family) -> None:
    """Raises No where a command may leave something of one platform that nobody would notice."""
    check(family)
    for run, command, folder in commands(family):
        if _bundler(command):
            continue
        problem = _js_problem(command) if command.name in _JS | {"corepack"} else command_problem(command, folder)
        if problem:
            raise No(run.instruction, problem)


def leaves_plain(ready: Ready, item: Taken, dockerfile: Dockerfile) -> str:
    """Why what is taken from a family may hold something of a platform; empty where it does not."""
    path = (item.path or "*").removesuffix("/*")
    if re.search(r"[*?\[]", path):
        return "what is copied out of it is not known"
    parts = path.strip("/").split("/")
    if "node_modules" in parts:
        return f"{item.path} may hold programs of one platform"
    plain = _PLAIN_FILES.fullmatch(parts[-1]) is not None
    below = _below_projects(ready.family, path)
    if not below or (_OUTPUTS.isdisjoint(below) and not plain):
        return f"{item.path} may hold node_modules, or something else of one platform"
    if plain:
        return ""
    if ready.family.context is None:
        return f"what makes {item.path} is not known"
    scripts = [script for path in _manifests(ready.family.context) for script in _build_scripts(_text(path))]
    scripts += filter(None, (_bundler(command) for _, command, _ in commands(ready.family)))
    if _runs_node(dockerfile, item.stage.index):
        if not scripts or not all(_FOR_NODE.fullmatch(script) for script in scripts):
            return f"the server that is made in {item.path} may hold something of one platform"
        return ""
    return "" if any(map(_BROWSER.search, scripts)) else f"what makes {item.path} is not known"


def _below_projects(family: Family, path: str) -> list[str]:
    """The parts of a path below the folders in which modules are installed; none where it may hold one of those."""
    folders = {folder for _, command, folder in commands(family) if command.name in _JS or _bundler(command)}
    depth = 0
    for folder in folders:
        if folder is None or folder == path or folder.startswith(f"{path.rstrip('/')}/"):
            return []
        if path.startswith(f"{folder.rstrip('/')}/"):
            depth = max(depth, len([part for part in folder.split("/") if part]))
    return path.strip("/").split("/")[depth:]


def _runs_node(dockerfile: Dockerfile, index: int) -> bool:
    """Whether the image that a stage starts from, or what it installs, can run JavaScript."""
    base = states(dockerfile)[-1 - index].base
    text = " ".join(item.arguments.text for item in dockerfile.stages[index].instructions if item.keyword != "COPY")
    browsers = ("nginx", "nginxinc/nginx-unprivileged", "httpd", "caddy", "scratch", "busybox", "golang", "python")
    return base.repository not in browsers or re.search(r"\bnode|\bnpm\b|\bbun\b|\bdeno\b", text) is not None


def _js_problem(command: Command) -> str:
    shown = " ".join(word.raw for word in command.words)[:60]
    if compiled(command) is not None or command.name == "corepack":
        return ""
    words = [text for text in command.texts if not text.startswith("-")]
    action = words[0] if words else ""
    if command.name == "npm" and action == "run":
        return f"what `{shown}` makes is not known"
    if action not in _MANAGING and not (command.name == "yarn" and action == "global"):
        return f"what `{shown}` makes is not known"
    packages = words[2:] if action in ("global", "config", "cache") else words[1:]
    if action in ("install", "i", "add", "global") and not all(_GLOBAL_TOOLS.fullmatch(name) for name in packages):
        return f"`{shown}` may install programs of one platform"
    odd = [word.raw for word in command.arguments if re.search(r"--(?:cpu|os|libc|arch|platform)\b", word.raw)]
    return f"`{shown}` names a platform" if odd else ""


def _manifests(context: Path) -> Iterator[Path]:
    """The package.json files of a context, down to three folders."""
    found = 0
    for pattern in ("package.json", "*/package.json", "*/*/package.json"):
        for path in sorted(context.glob(pattern)):
            if "node_modules" not in path.relative_to(context).parts and found < _MAX_MANIFESTS:
                found += 1
                yield path


def _build_scripts(text: str) -> list[str]:
    """The build scripts of a package.json, and those that go with them."""
    scripts = _document(text).get("scripts")
    if not isinstance(scripts, dict):
        return []
    return [
        value
        for name, value in sorted(scripts.items())
        if isinstance(value, str) and re.fullmatch(r"(?:pre|post)?(?:build|prepare|install)(?::.*)?", name)
    ]


def _building_parts(text: str) -> str:
    """What of a package.json decides about what a build makes: its scripts and what it depends on."""
    document = _document(text)
    dependencies = {**_table(document, "dependencies"), **_table(document, "devDependencies")}
    return " ; ".join(
        [*_build_scripts(text), *(f" {name} " for name in dependencies), *(['"pkg"'] * ("pkg" in document))]
    )


def _table(document: dict[str, object], name: str) -> dict[str, object]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _document(text: str) -> dict[str, object]:
    try:
        found = json_value(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return read_text(path, most=512 * 1024)
    except OSError:
        return ""
