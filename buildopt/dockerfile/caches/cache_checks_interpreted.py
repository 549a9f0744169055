"""What must hold for a manager of Python, JavaScript, PHP or Ruby, so that a mount hides nothing that is needed."""

from __future__ import annotations

import re

from buildopt.dockerfile.caches.cache_group import Group, has_option
from buildopt.dockerfile.caches.cache_where import No
from buildopt.dockerfile.caches.yarn_version import first_yarn

# What a wheel that is built here comes out different with, although its name does not tell.
_BUILD_VARIABLES = re.compile(
    r"(?:C|CXX|CPP|LD|F|ARCH|RUST|NVCC_)FLAGS|CC|CXX|CMAKE_.*|.*_?CUDA_ARCH.*|FORCE_.*|(?:.*_)?USE_.*|NO_.*|WITH_.*"
    r"|.*_NO_NATIVE|SKBUILD_.*|.*_FORCE_.*|.*_WITH(?:OUT)?_.*|.*_BUILD_(?:EXT|FROM|WITH|CUDA|OPS|FORCE).*"
)
_HARMLESS_VARIABLES = re.compile(
    r"PIP_(?!NO_BINARY|GLOBAL_OPTION|CONFIG_SETTINGS).*|PYTHON.*|DEBIAN_FRONTEND|UV_.*|POETRY_.*|PDM_.*|PIPENV_.*|PATH|HOME|LANG|LC_.*"
    r"|.*_PROXY|.*_proxy|TZ|TERM|CI|.*_TOKEN|.*_PASSWORD|.*_USERNAME|VIRTUAL_ENV|TMPDIR|NODE_ENV|BUILD_DATE|BUILD_NUMBER"
    r"|BUILD_VERSION|BUILD_ID|BUILD_HASH|SSL_.*|GIT_.*|.*_EXTRA_INDEX_URL|.*_INDEX_URL|REQUESTS_.*|NO_COLOR|FORCE_COLOR"
    r"|MAKEFLAGS|MAX_JOBS|SETUPTOOLS_SCM_.*"
)


def wheels(group: Group) -> None:
    """A wheel that was built with other settings could be taken from the cache. Raises No."""
    for run in group.users:
        names = [item.name for use in run.needs(group.manager) for item in use.command.environment]
        for command in run.commands:
            if command.name in ("export", "declare"):
                names += [word.raw.partition("=")[0] for word in command.arguments if not word.raw.startswith("-")]
        given = dict.fromkeys((*run.state.environment, *run.state.arguments))  # in their order, each time
        names += [name for name in given if _BUILD_VARIABLES.fullmatch(name)]
        found = next((name for name in names if not _HARMLESS_VARIABLES.fullmatch(name)), None)
        if found is not None:
            raise No(run.line, f"what is built with {found} would be taken from the cache when {found} has changed")
        for use in run.needs(group.manager):
            if has_option(use, "--config-settings", "--config-setting", "-C", "--global-option", "--build-option"):
                raise No(run.line, "what is built with options would be taken from the cache when they have changed")


def uv(group: Group) -> None:
    """Environments that are links into the cache, or that are in it. Raises No."""
    wheels(group)
    linked = "symlink"
    for run, use in group.all_uses():
        modes = [word.raw for word in use.arguments] + [run.state.environment.get("UV_LINK_MODE") or ""]
        if any(linked in mode for mode in modes) or f"UV_LINK_MODE={linked}" in run.text:
            raise No(run.line, "with links into the cache, the environment would be empty without it")
    starts = re.compile(r"\b(?:uvx|uv)\b")
    warms = [run for run, use in group.all_uses() if use.subcommand in ("run", "tool") or has_option(use, "--script")]
    if warms and any(starts.search(" ".join(item.values)) for item in group.starting()):
        raise No(warms[0].line, "it may make an environment in the cache, for what the container starts by uv")


def pdm(group: Group) -> None:
    """Packages that are links into the cache. Raises No."""
    wheels(group)
    if "install.cache" in group.dockerfile.source.text or "PDM_INSTALL_CACHE" in group.dockerfile.source.text:
        raise No(group.users[0].line, "with install.cache, what is installed are links into the cache")


def conda(group: Group) -> None:
    """Packages that are links into the cache. Raises No."""
    for run, _ in group.all_uses():
        if re.search(r"softlink|CONDA_OFFLINE", run.text):
            raise No(run.line, "what is installed may be links into the cache")


def pnpm(group: Group) -> None:
    """Packages that are links into the store. Raises No."""
    for run, use in group.all_uses():
        if re.search(r"package-import-method|virtual-store|PNPM_PACKAGE_IMPORT|npm_config_package_import", run.text):
            raise No(
                run.line, "how pnpm links packages to its store is set, and links into the store would lead nowhere"
            )
        if has_option(use, "-g", "--global"):
            raise No(run.line, "what is installed for all projects may be links into the store")


def bun(group: Group) -> None:
    """Packages that are links into the cache. Raises No."""
    for run, use in group.all_uses():
        if "symlink" in " ".join(word.raw for word in use.arguments):
            raise No(run.line, "what is installed are links into the cache")


def yarn(group: Group) -> None:
    """Which yarn it is: a later one may read packages from its cache when the program runs. Raises No."""
    reason = first_yarn(group.dockerfile, group.context, [run.text for run in group.runs])
    if reason:
        raise No(group.users[0].line, reason)
    for run, use in group.all_uses():
        if has_option(use, "--immutable", "--check-cache", "--inline-builds"):
            raise No(run.line, "this is a later yarn, whose packages may be needed when the program runs")


_BUNDLE_MOVES = re.compile(r"\b(?:path|deployment|system|cache_path|global_gem_cache)\b")


def bundler(group: Group) -> None:
    """Where the gems are. Raises No."""
    for run, use in group.all_uses():
        words = " ".join(word.text or word.raw for word in use.rest)
        if use.subcommand in ("config", "package", "cache") and _BUNDLE_MOVES.search(words):
            raise No(run.line, "bundle config may put the gems elsewhere")
        if use.subcommand == "pristine":
            raise No(run.line, "gem pristine reads the archives again")
        if has_option(
            use, "--path", "--deployment", "--install-dir", "-i", "--user-install", "--build-root", "--system"
        ):
            raise No(run.line, "an option puts the gems elsewhere")


def composer(group: Group) -> None:
    """Where composer keeps what is global. Raises No."""
    for run, use in group.all_uses():
        known = any(run.state.variable(name) for name in ("COMPOSER_HOME", "COMPOSER_CACHE_DIR"))
        everywhere = use.subcommand in ("global", "g") or (
            use.subcommand == "config" and has_option(use, "-g", "--global")
        )
        if everywhere and not known:
            raise No(run.line, "where composer keeps what is global may depend on the folder that the mount makes")
