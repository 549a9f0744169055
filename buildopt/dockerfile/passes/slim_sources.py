"""What the sources of a context say they need of the image that they run in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from buildopt.dockerfile.files import json_value, read_text
from buildopt.dockerfile.passes.context_text import files
from buildopt.dockerfile.passes.slim_packages import gems_problem, lock_problem

MAX_FILES = 5_000
_MAX_BYTES = 512 * 1024
_JAVA = re.compile(
    r"javax\.tools|com\.sun\.(?:tools|jdi)|ToolProvider|jdk\.(?:attach|jshell|jdi|compiler)|ProcessBuilder|\.exec\("
    r"|byte-buddy-agent|janino|VirtualMachine|jlink|jpackage|groovy-all|org\.codehaus\.groovy|jasper|tools\.jar"
    r"|\bj(?:cmd|map|stack|info)\b"
)
# What sources say where they start other programs, or load what only a full image has.
_STARTS = {
    "node": re.compile(r"child_process|\bexeca\b|shelljs|\bzx\b|simple-git|--(?:use-)?openssl-ca|\.dlopen\b|\bBun\."),
    "python": re.compile(
        r"\bsubprocess\b|os\.(?:system|popen|exec\w*|spawn\w*|posix_spawn)|pexpect|\bpty\b|tkinter|turtle|ctypes|cdll"
        r"|^\s*(?:import|from) (?:git|sh|magic)\b|mimetypes|create_subprocess|shutil\.which|idlelib",
        re.MULTILINE,
    ),
    "ruby": re.compile(r"`|%x|\bsystem\b|Open3|IO\.popen|\bspawn\b|\bexec\b|Fiddle|FFI"),
    "eclipse-temurin": _JAVA,
    "openjdk": _JAVA,
    "dotnet": re.compile(r"Process(?:StartInfo|\.Start)|DllImport|LibraryImport|CSharpScript"),
}
_JAVA_FILES = (".java", ".kt", ".groovy", ".scala", ".xml", ".gradle", ".kts")
_KINDS = {
    "node": (".js", ".ts", ".mjs", ".cjs", ".jsx", ".tsx"),
    "python": (".py",),
    "ruby": (".rb", ".ru"),
    "eclipse-temurin": _JAVA_FILES,
    "openjdk": _JAVA_FILES,
    "dotnet": (".cs", ".fs", ".csproj", ".cshtml"),
}
# Kinds of files whose type Python knows by /etc/mime.types alone, which its slim images lack.
_TYPED = (".woff", ".woff2", ".ttf", ".otf", ".eot", ".webp", ".webmanifest", ".map", ".m4a", ".ogg", ".md")
_SERVED = re.compile(r"(?:^|/)(?:static|public|assets|media)/")


def listed(context: Path | None) -> Sequence[str]:
    """The first MAX_FILES files of a context."""
    if context is None:
        return ()
    return [path for _, path in zip(range(MAX_FILES), files(context), strict=False)]


def lines(path: Path) -> list[str] | None:
    """The lines of a file; None where it cannot be read, or is no text that a person wrote."""
    try:
        return read_text(path, most=_MAX_BYTES).splitlines()
    except (OSError, ValueError):
        return None


def problem(context: Path, names: Sequence[str], family: str) -> str:
    """Why programs of a context may need the full image; empty where nothing says so."""
    if len(names) >= MAX_FILES:
        return "the context holds too much to read"
    if family == "node" and _depends(context / "package.json"):
        locked = lock_problem(context / "package-lock.json")
        if locked:
            return locked
    if family == "ruby" and "Gemfile" in names:
        locked = gems_problem(context / "Gemfile.lock")
        if locked:
            return locked
    seen = False
    for path in names:
        if path.endswith((".so", ".node", ".a", ".whl", ".gem")) or ".so." in path:
            return f"{path} may need libraries of the full image"
        if family == "python" and path.endswith(_TYPED) and _SERVED.search(path):
            return f"the type of {path} is known by /etc/mime.types, which the slim image lacks"
        if not path.endswith(_KINDS[family]):
            continue
        seen = True
        found = _STARTS[family].search("\n".join(lines(context / path) or []))
        if found is not None:
            return f"{path} speaks of {found.group().strip()}: it may need the full image"
    if not seen and family in ("eclipse-temurin", "openjdk", "dotnet"):
        return "the context holds no sources that tell what the program needs"
    return ""


def _depends(path: Path) -> bool:
    """Whether a package.json names packages, or cannot be understood."""
    text = lines(path)
    if text is None:
        return path.exists()
    try:
        document = json_value("\n".join(text))
    except ValueError:
        return True
    if not isinstance(document, dict):
        return True
    return any(document.get(name) for name in ("dependencies", "devDependencies", "optionalDependencies", "workspaces"))


def scripts_of(path: Path) -> dict[str, str] | None:
    """The scripts of a package.json; None where it cannot be read."""
    try:
        document = json_value("\n".join(lines(path) or [""]))
    except ValueError:
        return None
    scripts = document.get("scripts", {}) if isinstance(document, dict) else {}
    if not isinstance(scripts, dict):
        return None
    return {name: text for name, text in scripts.items() if isinstance(text, str)}
