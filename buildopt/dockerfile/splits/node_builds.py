"""Where the tools of Node.js projects put what they build."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.node_bundlers import BUNDLERS, bundled, configured
from buildopt.dockerfile.splits.node_commands import Leaf
from buildopt.dockerfile.splits.node_project import Compiler, Project, compiler, loose_json, mapping

# They write nothing that anybody needs.
_NOTHING = word_set(
    ": [ [[ autoprefixer biome chalk check commitlint cspell dependency-cruiser depcheck echo eslint exit export "
    "false husky  is-ci jest karma knip lint-staged lefthook madge mocha npm-check nyc oxlint playwright prettier "
    "printf run-script-os  shellcheck sleep solhint standard stylelint svelte-check test true tslint type-coverage "
    "vitest vue-tsc wait-on  xo npm-run-all run-s run-p concurrently cross-env cross-env-shell dotenv env-cmd "
    "dotenvx set cat ls pwd time node-version  browserslist update-browserslist-db next-sitemap-dry only-allow "
    "patch-package patch check-types attw publint  simple-git-hooks lerna-check ts-patch envinfo size-limit "
    "bundlesize source-map-explorer"
)
_FILES = word_set(
    "cp mv mkdir rm touch ln sed chmod cpx cpx2 cpy copyfiles copy-files ncp shx rimraf del del-cli mkdirp  cpr "
    "recursive-copy copy make-dir make-dir-cli trash trash-cli fs-extra cpy-cli rsync move-file move-cli  tsc-alias "
    "tscpaths tsconfig-replace-paths resolve-tspaths tsc-esm-fix javascript-obfuscator terser uglifyjs"
)
_DEFAULTS = {
    "astro": ("dist",),
    "docusaurus": ("build",),
    "eleventy": ("_site",),
    "ember": ("dist",),
    "gatsby": ("public", ".cache"),
    "gridsome": ("dist",),
    "hexo": ("public",),
    "quasar": ("dist",),
    "react-static": ("dist",),
    "microbundle": ("dist",),
    "unbuild": ("dist",),
    "pkgroll": ("dist",),
    "tsdown": ("dist",),
    "bunchee": ("dist",),
    "father": ("dist",),
    "umi": ("dist",),
    "max": ("dist",),
    "poi": ("dist",),
    "rsbuild": ("dist",),
    "farm": ("dist",),
    "build-storybook": ("storybook-static",),
    "preact": ("build",),
    "ice": ("build",),
}
_OPTION_OF_OUTPUT = re.compile(
    r"^(?:--out-?[dD]ir|--out-?[fF]ile|--output(?:-?(?:dir|file|path))?|--dist-?[dD]ir|--dest|--dir|-o|-d|--out)$"
)


@dataclass(slots=True)
class Built:
    """What builds make: ``outputs`` are paths relative to the project, ``beside``: some lies beside its source.

    ``unknown`` is a command whose results are not known. ``compilers`` are the tsconfigs used, ``scripts`` the programs
    of the project that build.
    """

    outputs: set[str] = field(default_factory=set)
    beside: bool = False
    unknown: str = ""
    compilers: list[Compiler] = field(default_factory=list)
    tools: set[str] = field(default_factory=set)
    scripts: set[str] = field(default_factory=set)

    def add(self, *paths: str) -> None:
        """Note outputs, relative to the project."""
        for path in paths:
            place = posixpath.normpath(path)
            if place in (".", "..") or place.startswith(("/", "../")) or "$" in place:
                self.unknown = self.unknown or f"… {path}"
            else:
                self.outputs.add(place)


def note(built: Built, project: Project, leaf: Leaf, environment: Mapping[str, str | None]) -> None:
    """Add what one program makes."""
    below = posixpath.relpath(leaf.folder, project.folder)
    name, arguments = leaf.name, leaf.arguments
    given = {**environment, **dict(leaf.environment)}
    if below == ".." or below.startswith("../"):
        built.unknown = built.unknown or leaf.shown
        return
    if below != ".":
        built.outputs.add(below.split("/")[0])  # a project of its own in there: all of it is kept
        return
    if name.endswith(" run") or name in _NOTHING or (name in ("npm", "yarn", "pnpm") and _idle(arguments)):
        return
    built.tools.add(name)
    options = _options(arguments)
    if name == "tsc" or name == "ttsc" or name == "tspc":
        _typescript(built, project, arguments, options)
    elif name in ("nest", "nest-cli"):
        _nest(built, project, arguments)
    elif name == "next":
        _next(built, project, arguments, options)
    elif name in ("nuxt", "nuxi", "nuxt-ts"):
        _nuxt(built, project, leaf)
    elif name == "react-scripts" or name in ("craco", "react-app-rewired", "rescripts", "react-scripts-ts"):
        path = given.get("BUILD_PATH", _from_env_files(project, "BUILD_PATH") or "build")
        if arguments[:1] == ("build",):
            built.add(path) if path else _unknown(built, leaf)
    elif name in BUNDLERS:
        found = bundled(project, leaf, _from_options(options))
        if found is None:
            _unknown(built, leaf)
        else:
            built.add(*found)
    elif name == "prisma":
        _prisma(built, project, leaf)
    elif name in ("vuepress", "vitepress"):
        folder = next(
            (word for word in arguments[1:] if not word.startswith("-")), "docs" if project.has("docs") else "."
        )
        built.add(posixpath.join(folder, f".{name}", "dist"), *([options["-d"]] if "-d" in options else []))
    elif name in (
        "esbuild",
        "babel",
        "swc",
        "tsup",
        "ncc",
        "sass",
        "node-sass",
        "postcss",
        "tailwindcss",
        "browserify",
        "lessc",
        "stylus",
    ):
        _with_option(built, project, leaf, options)
    elif name in _DEFAULTS:
        own = configured(project, name, ("outDir", "outputPath", "destDir", "distDir"))
        if own is None:
            _unknown(built, leaf)
        else:
            built.add(*([_from_options(options)] if _from_options(options) else own or _DEFAULTS[name]))
    elif name == "next-sitemap" and project.has("public"):
        built.add("public")
    elif name in ("remix", "react-router"):
        by_vite = any(re.fullmatch(r"vite\.config\.\w+", path) for path in project.files)
        built.add("build", *(() if by_vite else ("public/build",)))
    elif name == ">" or name in _FILES:
        _places(built, leaf)
    elif name == "node" and any(word in ("-v", "--version") for word in arguments[:1]):
        return
    elif name == "node" and arguments and posixpath.normpath(arguments[0]) in project.files:
        built.scripts.add(posixpath.normpath(arguments[0]))
        _unknown(built, leaf)
    else:
        _unknown(built, leaf)


def _unknown(built: Built, leaf: Leaf) -> None:
    built.unknown = built.unknown or leaf.shown


def _idle(arguments: tuple[str, ...]) -> bool:
    return arguments[:1] in (("config",), ("cache",), ("--version",), ("-v",), ("version",), ("audit",), ("set",), ())


def _options(arguments: tuple[str, ...]) -> dict[str, str]:
    """Options with their values: what follows ``=``, or the next word that is no option."""
    found: dict[str, str] = {}
    for index, word in enumerate(arguments):
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            following = arguments[index + 1] if index + 1 < len(arguments) else ""
            found[name] = value if equals else ("" if following.startswith("-") else following)
    return found


def _from_options(options: Mapping[str, str]) -> str:
    """The folder that options name; of a file the folder that it lies in."""
    found = next((value for name, value in options.items() if _OPTION_OF_OUTPUT.match(name) and value), "")
    return posixpath.dirname(found) or "." if posixpath.splitext(found)[1] else found


def _typescript(built: Built, project: Project, arguments: tuple[str, ...], options: Mapping[str, str]) -> None:
    if options.keys() & {"--noEmit", "--version", "-v", "--init"} and options.get("--noEmit") != "false":
        return
    named = next((options[name] for name in ("-p", "--project") if options.get(name)), "")
    if not named and options.keys() & {"-b", "--build"}:
        named = next((options[name] for name in ("-b", "--build") if options.get(name)), "")
    path = named or "tsconfig.json"
    if named and not path.endswith(".json"):
        path = posixpath.join(path, "tsconfig.json")
    found = compiler(project, posixpath.normpath(path))
    references = loose_json(project.text(path)).get("references")
    if isinstance(references, list) and options.keys() & {"-b", "--build"}:
        for item in references:
            target = str(mapping(item).get("path") or "")
            target = target if target.endswith(".json") else posixpath.join(target, "tsconfig.json")
            _emitted(built, compiler(project, posixpath.normpath(target)))
        if not found.output:
            return
    if options.get("--outDir"):
        found = Compiler(
            posixpath.normpath(options["--outDir"]), found.root, found.base, found.aliases, found.helpers, True, True
        )
    _emitted(built, found)


def _emitted(built: Built, found: Compiler) -> None:
    if not found.emits:
        return
    built.compilers.append(found)
    if found.output is None or found.output == ".":
        built.beside = True
    else:
        built.add(found.output)


def _nest(built: Built, project: Project, arguments: tuple[str, ...]) -> None:
    if arguments[:1] != ("build",):
        built.unknown = built.unknown or f"nest {' '.join(arguments)}"[:60]
        return
    for name in ("tsconfig.build.json", "tsconfig.json"):
        found = compiler(project, name)
        if found.found:
            built.compilers.append(found)
            built.add(found.output or "dist")
            return
    built.add("dist")


def _next(built: Built, project: Project, arguments: tuple[str, ...], options: Mapping[str, str]) -> None:
    config = next((project.text(name) for name in project.files if re.fullmatch(r"next\.config\.\w+", name)), "")
    if arguments[:1] == ("export",):
        built.add(_from_options(options) or "out")
    elif arguments[:1] == ("build",) or not arguments:
        folder = re.search(r"\bdistDir\s*:\s*['\"`]([^'\"`$\n]+)['\"`]", config)
        if "distDir" in config and folder is None:
            built.unknown = built.unknown or "next build (distDir)"
        built.add(folder.group(1) if folder else ".next")
        if re.search(r"\boutput\s*:\s*['\"]export['\"]", config):
            built.add("out")
    elif arguments[:1] not in (("lint",), ("telemetry",), ("info",), ("typegen",)):
        folder_ = next((word for word in arguments[1:] if not word.startswith("-")), "")
        built.unknown = built.unknown or f"next {arguments[0]} {folder_}".strip()


def _from_env_files(project: Project, name: str) -> str:
    for path in (".env.production.local", ".env.local", ".env.production", ".env"):
        match = re.search(rf"^\s*{name}\s*=\s*['\"]?([^'\"\n]+)", project.text(path), re.MULTILINE)
        if match:
            return match.group(1).strip()
    return ""


def _with_option(built: Built, project: Project, leaf: Leaf, options: Mapping[str, str]) -> None:
    explicit = _from_options(options)
    if explicit:
        built.add(explicit)
    elif leaf.name in ("tsup", "ncc"):
        own = configured(project, leaf.name, ("outDir",))
        text = mapping(project.package.get("tsup")).get("outDir")
        if own is None:
            _unknown(built, leaf)
        else:
            built.add(*([str(text)] if text else own or ["dist"]))
    elif (
        leaf.name in ("sass", "node-sass", "lessc")
        and len([word for word in leaf.arguments if not word.startswith("-")]) > 1
    ):
        for word in leaf.arguments:
            if not word.startswith("-"):
                built.outputs.add(word.rpartition(":")[2].split("/")[0])
    else:
        _unknown(built, leaf)


def _nuxt(built: Built, project: Project, leaf: Leaf) -> None:
    wanted = str(mapping(project.package.get("dependencies")).get("nuxt") or "")
    wanted = wanted or str(mapping(project.package.get("devDependencies")).get("nuxt") or "2")
    old = re.match(r"[\^~>=v]*\s*[12]\b", wanted) is not None
    if leaf.arguments[:1] == ("prepare",):
        return
    if leaf.arguments[:1] == ("generate",):
        built.add("dist" if old else ".output")
    elif leaf.arguments[:1] == ("build",):
        built.add(".nuxt" if old else ".output")
    else:
        _unknown(built, leaf)


def _prisma(built: Built, project: Project, leaf: Leaf) -> None:
    if leaf.arguments[:1] not in (("generate",), ("format",), ("validate",), ("-v",), ("version",)):
        _unknown(built, leaf)
        return
    for path in project.files:
        if path.endswith(".prisma"):
            for output in re.findall(r"^\s*output\s*=\s*\"([^\"]+)\"", project.text(path), re.MULTILINE):
                place = posixpath.normpath(posixpath.join(posixpath.dirname(path), output))
                if not place.startswith(("node_modules", "..", "/")):
                    built.outputs.add(place)
                elif not place.startswith("node_modules"):
                    _unknown(built, leaf)


def _places(built: Built, leaf: Leaf) -> None:
    """Programs that handle files: whatever they name is kept, as long as it is in the project."""
    operands = [word for word in leaf.arguments if not word.startswith("-")]
    if leaf.name not in (">", "mkdir", "mkdirp", "touch", "make-dir", "make-dir-cli"):
        operands = operands[-1:]  # where it copies to
    for word in operands:
        if not re.match(r"^[\w.@*]", word):
            if word.startswith(("/", "~", "$", "..")):
                _unknown(built, leaf)
            continue
        path = posixpath.normpath(re.split(r"[*?{]", word)[0])
        if path.startswith(".."):
            _unknown(built, leaf)
        elif leaf.name in ("rm", "rimraf", "del", "del-cli", "trash", "trash-cli", "sed", "chmod") or path in (
            ".",
            "node_modules",
        ):
            continue
        elif path != "":
            built.outputs.add(path.split("/")[0])
