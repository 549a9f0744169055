"""What a container of a Node.js project needs of it when it starts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.node_commands import Leaf, Unclear
from buildopt.dockerfile.splits.node_project import Project, package_of

STATIC_SERVERS = word_set(
    "serve http-server angular-http-server http-serve spa-http-server sirv static-server local-web-server "
    "pushstate-server"
)
_DEVELOPMENT = word_set(
    "babel-node browser-sync bun-dev gulp grunt nodemon-dev parcel start-storybook storybook ts-node ts-node-dev "
    "ts-node-esm  tsnd tsx vite-node webpack-dev-server esrun swc-node turbo nx lerna expo live-server lite-server "
    "bsb budo"
)
# First arguments with which a tool serves from the sources; an empty one is none at all.
_SERVING = {
    "react-scripts": ("start",),
    "craco": ("start",),
    "react-app-rewired": ("start",),
    "vue-cli-service": ("serve", ""),
    "ng": ("serve", "s"),
    "vite": ("dev", "serve", ""),
    "next": ("dev", ""),
    "nuxt": ("dev", ""),
    "nuxi": ("dev", ""),
    "nest": ("start",),
    "gatsby": ("develop",),
    "webpack": ("serve",),
    "remix": ("dev",),
    "astro": ("dev", ""),
    "react-router": ("dev",),
    "vitepress": ("dev", ""),
    "vuepress": ("dev", ""),
    "docusaurus": ("start",),
    "quasar": ("dev",),
    "ionic": ("serve",),
    "rsbuild": ("dev",),
    "svelte-kit": ("dev",),
    "strapi": ("develop", "dev"),
    "sls": ("offline",),
    "serverless": ("offline",),
}
_BUILDING = word_set("tsc webpack rollup esbuild tsup ncc babel swc sass node-sass postcss")
_BUILDS = frozenset(("build", "generate", "export", "compile", "bundle"))
SHELL_COMMANDS = word_set(
    ": [ [[ echo printf true false exit export set test cd sleep exec trap wait mkdir chown chmod ls cat touch cp "
    "mv rm ln  sed awk grep date id env envsubst source . read local unset shift until while pwd whoami hostname "
    "kill sync tr cut head tail"
)
# Their first argument is what they serve or run: `remix-serve build` builds nothing.
_GIVEN_A_PATH = STATIC_SERVERS | SHELL_COMMANDS | word_set("node nodejs prisma remix-serve react-router-serve")
_SYSTEM = word_set("sh bash dash curl wget nc")
_MANAGERS = frozenset(("npm", "yarn", "pnpm", "bun"))
_VALUED = {
    "serve": word_set("-l --listen -p --port -c --config --ssl-cert --ssl-key --ssl-pass"),
    "node": word_set(
        "-r --require --import --loader --experimental-loader --env-file -C --conditions --title --stack-trace-limit"
    ),
}
_VALUED_SERVER = word_set(
    "-p --port -a --host -l --listen -c --config -e --ext -P --proxy -C --cert -K --key -t --path -o --open -d -b "
    "-g --cors -m"
)


@dataclass(slots=True)
class Needs:
    """``files`` are those that node is given and ``served`` folders, both absolute; ``packages`` are started ones.

    ``modules``: node_modules is needed; ``globals`` are programs that a RUN installed. ``only_static``: nothing but a
    server of static files runs. ``by_name`` are words that may name files of the project.
    """

    files: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)
    managers: set[str] = field(default_factory=set)
    by_name: set[str] = field(default_factory=set)
    modules: bool = False
    other: bool = False

    @property
    def only_static(self) -> bool:
        """Whether nothing but servers of static files runs."""
        return bool(self.served) and not self.files and not self.other


def note_start(needs: Needs, project: Project, leaf: Leaf, installed: Collection[str], system: Collection[str]) -> None:
    """Add what one program needs. ``installed`` are programs of global packages, ``system`` those of packages.

    Raises Unclear where the container needs what only a build has.
    """
    name, arguments = leaf.name, leaf.arguments
    needs.by_name.update(arguments)
    if leaf.manager:
        needs.managers.add(leaf.manager)
    if name.endswith(" run"):
        return
    first = next((word for word in arguments if not word.startswith("-")), "")
    if name in _MANAGERS:
        raise Unclear(f"`{leaf.shown}` runs when the container starts")
    if (
        name in _DEVELOPMENT
        or first in _SERVING.get(name, ())
        or (name in _SERVING and "" in _SERVING[name] and not first)
    ):
        raise Unclear(f"`{leaf.shown}` works with the sources: it is made for development")
    if name == "nodemon" and not (first.endswith((".js", ".cjs", ".mjs")) and "nodemon" not in project.development):
        raise Unclear(f"`{leaf.shown}` works with the sources: it is made for development")
    if name in _BUILDING or (first in _BUILDS and name not in _GIVEN_A_PATH):
        raise Unclear(f"`{leaf.shown}` builds when the container starts")
    if name == "node" or name == "nodejs":
        _node(needs, project, leaf)
        return
    if name in ("pm2", "pm2-runtime", "pm2-docker", "forever", "nodemon"):
        _program(needs, project, leaf, installed, system)
        _process_manager(needs, project, leaf)
        return
    if leaf.folder != project.folder and not leaf.folder.startswith(f"{project.folder.rstrip('/')}/") and leaf.local:
        raise Unclear(f"`{leaf.shown}` runs in {leaf.folder}")
    if name in STATIC_SERVERS:
        _program(needs, project, leaf, installed, system)
        _static(needs, leaf)
        return
    if name in SHELL_COMMANDS and not leaf.local:
        needs.other = needs.other or name not in ("echo", "exec", "cd", "export", "set")
        return
    needs.other = True
    if name not in SHELL_COMMANDS:
        _program(needs, project, leaf, installed, system)


def _program(needs: Needs, project: Project, leaf: Leaf, installed: Collection[str], system: Collection[str]) -> None:
    """Where a program comes from."""
    name = leaf.name
    if name == ">":
        return
    package = package_of(name, project)
    if leaf.local or leaf.fetched:
        if package in project.dependencies or (project.locked is not None and package in project.locked):
            needs.packages.add(package)
            needs.modules = True
            return
        if package in project.development or package in project.locked_for_development:
            needs.packages.add(package)  # whoever prunes looks at these
            needs.modules = True
            return
    if name in installed or package in installed:
        needs.globals.add(name if name in installed else package)
        return
    if leaf.fetched and (name in STATIC_SERVERS or f"{name}@" in leaf.shown):
        return
    if name in _SYSTEM or name in system:
        return
    raise Unclear(f"where {name} comes from is not known")


def _node(needs: Needs, project: Project, leaf: Leaf) -> None:
    words = list(leaf.arguments)
    while words and words[0].startswith("-"):
        option, equals, value = words[0].partition("=")
        if option in ("-e", "--eval", "-p", "--print"):
            needs.other = True
            code = words[1] if len(words) > 1 else ""
            for name in re.findall(r"require\(\s*['\"]([^'\"]+)['\"]", code):
                needs.loaded.add(name)
            return
        if option in ("--test", "--watch", "--run", "--experimental-strip-types"):
            raise Unclear(f"`{leaf.shown}` works with the sources")
        if option in _VALUED["node"]:
            value = value if equals else (words[1] if len(words) > 1 else "")
            words = words if equals else words[1:]
            if option not in ("-C", "--conditions", "--title", "--stack-trace-limit", "--env-file"):
                needs.loaded.add(value)
            needs.by_name.add(value)
        words = words[1:]
    if not words:
        raise Unclear(f"`{leaf.shown}` starts no program")
    if "$" in words[0]:
        raise Unclear(f"what `{leaf.shown}` starts is not known")
    if words[0].endswith((".ts", ".tsx", ".mts", ".cts")):
        raise Unclear(f"`{leaf.shown}` works with the sources")
    if words[0] == "ace":
        raise Unclear("node ace works with the sources")
    path = posixpath.normpath(posixpath.join(leaf.folder, words[0]))
    if path == project.folder:
        main = project.package.get("main")
        path = posixpath.normpath(posixpath.join(path, main if isinstance(main, str) and main else "index.js"))
    needs.files.append(path)
    needs.modules = True


def _process_manager(needs: Needs, project: Project, leaf: Leaf) -> None:
    words = [word for word in leaf.arguments if not word.startswith("-") and word != "start"]
    if not words:
        raise Unclear(f"what `{leaf.shown}` starts is not known")
    target = words[0]
    if target in _MANAGERS:
        raise Unclear(f"`{leaf.shown}`: what it starts is not followed")
    path = posixpath.normpath(posixpath.join(leaf.folder, target))
    needs.modules = True
    if re.search(r"\.(?:json|ya?ml|config\.c?js)$", target):
        text = project.text(posixpath.relpath(path, project.folder))
        scripts = re.findall(r"['\"]?\bscript['\"]?\s*:\s*['\"]([^'\"]+)['\"]", text)
        if not scripts or re.search(r"interpreter|npm|yarn|exec_interpreter|\bcwd\b", text):
            raise Unclear(f"what {target} starts is not known")
        needs.files += [posixpath.normpath(posixpath.join(leaf.folder, script)) for script in scripts]
        needs.by_name.add(target)
    elif re.search(r"\.[cm]?js$", target) or posixpath.splitext(target)[1] == "":
        needs.files.append(path)
    else:
        raise Unclear(f"`{leaf.shown}` works with the sources")


def _static(needs: Needs, leaf: Leaf) -> None:
    valued = _VALUED["serve"] if leaf.name == "serve" else _VALUED_SERVER
    operands: list[str] = []
    words = iter(leaf.arguments)
    for word in words:
        if word.startswith("-"):
            if leaf.name == "angular-http-server" and word == "--path":
                operands.insert(0, next(words, "."))
            elif word in valued:
                following = next(words, "")
                # `http-server -c-1 dist -o`: an option that needs no value here
                if leaf.name != "serve" and word in ("-o", "--open", "-d", "-g", "-b", "--cors") and following:
                    operands.append(following) if not re.fullmatch(r"true|false|\S*\*\S*", following) else None
        else:
            operands.append(word)
    place = operands[0] if operands else "."
    if "$" in place:
        raise Unclear(f"what `{leaf.shown}` serves is not known")
    if not operands and leaf.name == "http-server":
        raise Unclear("http-server without a folder serves public, or else all there is")
    needs.served.append(posixpath.normpath(posixpath.join(leaf.folder, place)))
