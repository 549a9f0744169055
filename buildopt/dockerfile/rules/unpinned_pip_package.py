"""Python packages without a version.

## What it does
Finds `pip install name` (and `uv pip install`, `uv tool install`, `pipx install`) where nothing says which version:
no `==` or other comparison, no constraints file, no hashes.

## Why
The newest version of the day goes into the image. The same Dockerfile makes something else next month, or nothing at
all, and nobody changed a line. PyPI keeps old versions, so a pin does not break later.

## Example
```dockerfile
RUN pip install --no-cache-dir flask gunicorn
```

## Use instead
```dockerfile
RUN pip install --no-cache-dir flask==3.1.2 gunicorn==23.0.0
```
or a file that a tool like `pip-compile` or `uv` keeps up to date, with all that these depend on:
```dockerfile
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
```

## References
- https://pip.pypa.io/en/stable/topics/repeatable-installs/
- https://packaging.python.org/en/latest/specifications/dependency-specifiers/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildopt.dockerfile.hadolint import Seen, installs_by_pip
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.packages import Call
from buildopt.dockerfile.pins import literal, unpinned
from buildopt.dockerfile.runs import Run
from buildopt.dockerfile.shell import Word
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings

NAME = "unpinned-pip-package"
ALIASES = ("DL3013",)
SEVERITY = Severity.WARNING
CATEGORY = Category.CORRECTNESS
_INSTALLS = {"pip": ("install",), "uv": ("pip install", "tool install"), "pipx": ("install",)}
_CONSTRAINED = ("-c", "--constraint", "--constraints", "--require-hashes", "--exclude-newer", "--overrides")
_VARIABLES = ("PIP_CONSTRAINT", "PIP_REQUIRE_HASHES", "UV_CONSTRAINT", "UV_EXCLUDE_NEWER")
_COMPARED = re.compile(r"[=<>~]")
_ARCHIVE = re.compile(r".*\.(?:whl|zip|egg|tgz|tbz|tar(?:\.\w+)?)(?:\[[^]]*\])?", re.DOTALL)
_HADOLINT_VALUED = word_set(
    "abi b build cache-dir e editable extra-index-url f find-links i index-url implementation no-binary only-binary "
    "platform prefix progress-bar proxy python python-version root root-user-action src t target trusted-host "
    "upgrade-strategy"
)


def check(dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]:
    """Look at every install of every stage."""
    for run, command, names in unpinned(dockerfile, settings, _ours, _theirs):
        message = f"{names} no version: pin it as name==version, or install from a requirements file that does"
        yield Finding(NAME, message, dockerfile.source, run.span(command.span), SEVERITY, CATEGORY, ALIASES)


def _ours(run: Run, call: Call) -> Iterator[Word]:
    if call.action not in _INSTALLS.get(call.tool, ()) or call.has(*_CONSTRAINED):
        return
    if any(name in run.scope.variables for name in _VARIABLES):
        return
    if any(item.name in _VARIABLES for item in call.command.environment):
        return
    yield from (word for word, text in literal(call.operands) if not _versioned(text))


def _versioned(text: str) -> bool:
    """Whether it names a version, or a file or folder of one's own."""
    name, at, address = text.partition(" @ ")
    if at or "://" in text:
        address = address if at else text
        path = address.partition("://")[2].partition("#")[0].partition("/")[2]
        return "git+" not in address or "@" in path
    return (
        text.startswith(".") or "/" in text or "*" in text or bool(_COMPARED.search(name) or _ARCHIVE.fullmatch(text))
    )


def _theirs(run: Run, item: Seen) -> Iterator[str]:
    if not installs_by_pip(item) or item.has("r", "c", "constraint"):
        return
    if "--requirement" in item.words or "." in item.words:
        return
    words = item.operands(_HADOLINT_VALUED)
    for text in words[words.index("install") + 1 :] if "install" in words else ():
        if not _versioned_for_hadolint(text):
            yield text


def _versioned_for_hadolint(text: str) -> bool:
    if "git+" in text:
        return "@" in text
    return (
        text == "."
        or "/" in text
        or "==" in text
        or bool(re.search(r"[<>]|[!~]=", text) or text.endswith((".whl", ".tar.gz")))
    )
