"""``buildopt lint --import-hadolint``: a .hadolint.yaml becomes the lint section of buildopt.yaml beside it."""

from __future__ import annotations

import os
from pathlib import Path

from buildopt import settings
from buildopt.dockerfile.hadolint_file import Translation, translate
from buildopt.errors import UsageError
from buildopt.report.text import printable
from buildopt.source import write_atomic

NAMES = (".hadolint.yaml", ".hadolint.yml")


def import_configuration(folder: Path) -> tuple[Path, list[str]]:
    """Write the section; the file that has it now, and what there is to say, a line each.

    Raises UsageError where there is nothing to import, or nowhere to put it: what would have been written is shown.
    """
    source = _nearest(folder)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}", hint="check its permissions") from error
    translation = translate(str(source), data)
    target = source.parent / settings.FILE_NAME
    if target.exists():
        write_atomic(target, _appended(target, translation))
    else:
        _check_project(source.parent / "pyproject.toml", translation)
        write_atomic(target, translation.yaml().encode())
    return target, [f"wrote the lint section of {target} from {source.name}", *map(printable, translation.notes)]


def _nearest(folder: Path) -> Path:
    """The nearest file of hadolint from ``folder`` upwards to its repository's root."""
    absolute = Path(os.path.abspath(folder))
    for parent in (absolute, *absolute.parents):
        for name in NAMES:
            if (parent / name).is_file():
                return Path(os.path.relpath(parent / name))
        if (parent / ".git").exists():
            break
    raise UsageError(
        "there is no .hadolint.yaml here or above, up to the repository's root",
        hint="run it in the folder that has one",
    )


def _appended(target: Path, translation: Translation) -> bytes:
    """The file with the section at its end; what was there stays byte for byte."""
    import yaml

    settings.load(target)  # a broken one is said to be broken first
    data = target.read_bytes()
    before = yaml.safe_load(data) or {}
    shown = translation.yaml().splitlines()
    if "lint" in before:
        raise UsageError(
            f"{target} has a lint section already: the lines above are what would be written",
            hint="merge them by hand, and leave out --import-hadolint",
            detail=shown,
        )
    newline = "\r\n" if b"\r\n" in data else "\n"
    gap = "" if not data else newline if data.endswith(b"\n") else newline * 2
    whole = data + (gap + translation.yaml().replace("\n", newline)).encode()
    try:
        fits = yaml.safe_load(whole) == {**before, **yaml.safe_load(translation.yaml())}
    except (yaml.YAMLError, UnicodeDecodeError):
        fits = False
    if not fits:
        raise UsageError(
            f"nothing can be appended to {target}: the lines above are what it lacks",
            hint="put them in by hand, and leave out --import-hadolint",
            detail=shown,
        )
    return whole


def _check_project(project: Path, translation: Translation) -> None:
    """A buildopt.yaml would hide the configuration in pyproject.toml."""
    if project.is_file() and b"[tool.buildopt" in project.read_bytes():
        raise UsageError(
            f"{project} holds the configuration: the lines above are what would be written",
            hint="put them in by hand, and leave out --import-hadolint",
            detail=translation.toml().splitlines(),
        )
