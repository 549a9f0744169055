"""Where the tools of Node.js projects put what they build."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
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
_WITH_OPTION = word_set("esbuild babel swc tsup ncc sass node-sass postcss tailwindcss browserify lessc stylus")
_IN_PLACE = word_set("rm rimraf del del-cli trash trash-cli sed chmod")
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


@dataclass(frozen=True, slots=True)
class _Use:
    """One use of a tool: what is known of it, and where what it makes is noted."""

    built: Built
    project: Project
    leaf: Leaf
    environment: Mapping[str, str | None]

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.leaf.arguments

    @property
    def options(self) -> dict[str, str]:
        return _options(self.leaf.arguments)

    def add(self, *paths: str) -> None:
        self.built.add(*paths)

    def unknown(self, shown: str = "") -> None:
        """Note that it is not known what is made."""
        self.built.unknown = self.built.unknown or shown or self.leaf.shown


def note(built: Built, project: Project, leaf: Leaf, environment: Mapping[str, str | None]) -> None:
    """Add what one program makes."""
    below = posixpath.relpath(leaf.folder, project.folder)
    use = _Use(built, project, leaf, {**environment, **dict(leaf.environment)})
    if below == ".." or below.startswith("../"):
        use.unknown()
    elif below != ".":
        built.outputs.add(below.split("/")[0])  # a project of its own in there: all of it is kept
    elif not _makes_nothing(leaf):
        built.tools.add(leaf.name)
        _TOOLS.get(leaf.name, _Use.unknown)(use)


def _makes_nothing(leaf: Leaf) -> bool:
    if leaf.name.endswith(" run") or leaf.name in _NOTHING:
        return True
    return leaf.name in ("npm", "yarn", "pnpm") and _idle(leaf.arguments)


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


def _typescript(use: _Use) -> None:
    built, project, options = use.built, use.project, use.options
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


def _nest(use: _Use) -> None:
    if use.arguments[:1] != ("build",):
        use.unknown(f"nest {' '.join(use.arguments)}"[:60])
        return
    for name in ("tsconfig.build.json", "tsconfig.json"):
        found = compiler(use.project, name)
        if found.found:
            use.built.compilers.append(found)
            use.add(found.output or "dist")
            return
    use.add("dist")


def _next(use: _Use) -> None:
    project, arguments = use.project, use.arguments
    config = next((project.text(name) for name in project.files if re.fullmatch(r"next\.config\.\w+", name)), "")
    if arguments[:1] == ("export",):
        use.add(_from_options(use.options) or "out")
    elif arguments[:1] == ("build",) or not arguments:
        folder = re.search(r"\bdistDir\s*:\s*['\"`]([^'\"`$\n]+)['\"`]", config)
        if "distDir" in config and folder is None:
            use.unknown("next build (distDir)")
        use.add(folder.group(1) if folder else ".next")
        if re.search(r"\boutput\s*:\s*['\"]export['\"]", config):
            use.add("out")
    elif arguments[:1] not in (("lint",), ("telemetry",), ("info",), ("typegen",)):
        folder_ = next((word for word in arguments[1:] if not word.startswith("-")), "")
        use.unknown(f"next {arguments[0]} {folder_}".strip())


def _react(use: _Use) -> None:
    path = use.environment.get("BUILD_PATH", _from_env_files(use.project, "BUILD_PATH") or "build")
    if use.arguments[:1] == ("build",):
        use.add(path) if path else use.unknown()


def _from_env_files(project: Project, name: str) -> str:
    for path in (".env.production.local", ".env.local", ".env.production", ".env"):
        match = re.search(rf"^\s*{name}\s*=\s*['\"]?([^'\"\n]+)", project.text(path), re.MULTILINE)
        if match:
            return match.group(1).strip()
    return ""


def _bundler(use: _Use) -> None:
    found = bundled(use.project, use.leaf, _from_options(use.options))
    if found is None:
        use.unknown()
    else:
        use.add(*found)


def _press(use: _Use) -> None:
    """VuePress and VitePress."""
    usual = "docs" if use.project.has("docs") else "."
    folder = next((word for word in use.arguments[1:] if not word.startswith("-")), usual)
    own = [use.options["-d"]] if "-d" in use.options else []
    use.add(posixpath.join(folder, f".{use.leaf.name}", "dist"), *own)


def _with_option(use: _Use) -> None:
    name = use.leaf.name
    explicit = _from_options(use.options)
    operands = [word for word in use.arguments if not word.startswith("-")]
    if explicit:
        use.add(explicit)
    elif name in ("tsup", "ncc"):
        own = configured(use.project, name, ("outDir",))
        text = mapping(use.project.package.get("tsup")).get("outDir")
        if own is None:
            use.unknown()
        else:
            use.add(*([str(text)] if text else own or ["dist"]))
    elif name in ("sass", "node-sass", "lessc") and len(operands) > 1:
        use.built.outputs.update(word.rpartition(":")[2].split("/")[0] for word in operands)
    else:
        use.unknown()


def _framework(use: _Use) -> None:
    """One of those that have a usual folder."""
    own = configured(use.project, use.leaf.name, ("outDir", "outputPath", "destDir", "distDir"))
    explicit = _from_options(use.options)
    if own is None:
        use.unknown()
    else:
        use.add(*([explicit] if explicit else own or _DEFAULTS[use.leaf.name]))


def _sitemap(use: _Use) -> None:
    use.add("public") if use.project.has("public") else use.unknown()


def _remix(use: _Use) -> None:
    by_vite = any(re.fullmatch(r"vite\.config\.\w+", path) for path in use.project.files)
    use.add("build", *(() if by_vite else ("public/build",)))


def _node(use: _Use) -> None:
    """A program of the project's own, which may make anything."""
    first = use.arguments[0] if use.arguments else ""
    if first in ("-v", "--version"):
        return
    if first and posixpath.normpath(first) in use.project.files:
        use.built.scripts.add(posixpath.normpath(first))
    use.unknown()


def _nuxt(use: _Use) -> None:
    wanted = str(mapping(use.project.package.get("dependencies")).get("nuxt") or "")
    wanted = wanted or str(mapping(use.project.package.get("devDependencies")).get("nuxt") or "2")
    old = re.match(r"[\^~>=v]*\s*[12]\b", wanted) is not None
    command = use.arguments[:1]
    if command == ("generate",):
        use.add("dist" if old else ".output")
    elif command == ("build",):
        use.add(".nuxt" if old else ".output")
    elif command != ("prepare",):
        use.unknown()


def _prisma(use: _Use) -> None:
    if use.arguments[:1] not in (("generate",), ("format",), ("validate",), ("-v",), ("version",)):
        use.unknown()
        return
    for path in use.project.files:
        if path.endswith(".prisma"):
            for output in re.findall(r"^\s*output\s*=\s*\"([^\"]+)\"", use.project.text(path), re.MULTILINE):
                place = posixpath.normpath(posixpath.join(posixpath.dirname(path), output))
                if not place.startswith(("node_modules", "..", "/")):
                    use.built.outputs.add(place)
                elif not place.startswith("node_modules"):
                    use.unknown()


def _places(use: _Use) -> None:
    """Programs that handle files: whatever they name is kept, as long as it is in the project."""
    name = use.leaf.name
    operands = [word for word in use.arguments if not word.startswith("-")]
    if name not in (">", "mkdir", "mkdirp", "touch", "make-dir", "make-dir-cli"):
        operands = operands[-1:]  # where it copies to
    for word in operands:
        if not re.match(r"^[\w.@*]", word):
            if word.startswith(("/", "~", "$", "..")):
                use.unknown()
            continue
        path = posixpath.normpath(re.split(r"[*?{]", word)[0])
        if path.startswith(".."):
            use.unknown()
        elif path not in (".", "node_modules", "") and name not in _IN_PLACE:
            use.built.outputs.add(path.split("/")[0])


_TOOLS: dict[str, Callable[[_Use], None]] = {
    **dict.fromkeys(("tsc", "ttsc", "tspc"), _typescript),
    **dict.fromkeys(("nest", "nest-cli"), _nest),
    "next": _next,
    **dict.fromkeys(("nuxt", "nuxi", "nuxt-ts"), _nuxt),
    **dict.fromkeys(("react-scripts", "craco", "react-app-rewired", "rescripts", "react-scripts-ts"), _react),
    **dict.fromkeys(BUNDLERS, _bundler),
    "prisma": _prisma,
    **dict.fromkeys(("vuepress", "vitepress"), _press),
    **dict.fromkeys(_WITH_OPTION, _with_option),
    **dict.fromkeys(_DEFAULTS, _framework),
    "next-sitemap": _sitemap,
    **dict.fromkeys(("remix", "react-router"), _remix),
    **dict.fromkeys((">", *_FILES), _places),
    "node": _node,
}
