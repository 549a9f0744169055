"""Splitting Python files: what is shipped, what the runtime stage repeats, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.dockerfile.parse import parse
from buildopt.source import MAX_BYTES, Source

TOP = "FROM python:3.11-slim\nRUN apt-get update && apt-get install -y gcc\n"
VENV = "RUN python -m venv /opt/venv\nENV PATH=/opt/venv/bin:$PATH\n"
APP = "WORKDIR /app\nCOPY . .\n"
PIP = "RUN pip install -r requirements.txt\n"
CMD = 'CMD ["python", "main.py"]\n'


def write(context: Path, **files: str) -> None:
    for name, text in {"requirements": "flask\n", **files}.items():
        (context / f"{name}.{'txt' if name == 'requirements' else 'py'}").write_text(text)


def split(text: str, context: Path) -> str:
    """The runtime stage."""
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert result.changes, result.refusals
    assert not parse(result.source).errors
    return "FROM " + result.source.text.partition("\nFROM ")[2]


def refusal(text: str, context: Path | None) -> str:
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert not result.changes
    return result.refusals[0].reason


def test_the_runtime_stage(tmp_path: Path) -> None:
    write(tmp_path)
    assert split(TOP + VENV + APP + PIP + CMD, tmp_path) == (
        "FROM python:3.11-slim\nENV PATH=/opt/venv/bin:$PATH\nWORKDIR /app\nCOPY . .\n"
        'COPY --from=build /opt/venv /opt/venv\nCMD ["python", "main.py"]\n'
    )


@pytest.mark.parametrize(
    ("base", "packages", "installed"),
    [
        ("3.11-slim", "gcc libpq-dev", "libpq5"),
        ("slim", "g++ default-libmysqlclient-dev curl", "libmariadb3 curl"),
        ("3.12-slim", "gcc libxml2-dev", "libxml2-dev"),
        ("3.12-slim-trixie", "gcc libxml2-dev", "libxml2"),
        ("3.12-slim", "build-essential libgeos-dev git", "libgeos-dev git"),
    ],
)
def test_packages(base: str, packages: str, installed: str, tmp_path: Path) -> None:
    write(tmp_path)
    top = f"FROM python:{base}\nRUN apt-get update && apt-get install -y {packages}\n"
    assert f"\nRUN apt-get update && apt-get install -y {installed}\n" in split(top + VENV + APP + PIP + CMD, tmp_path)


def test_compilers_alone_are_not_installed_again(tmp_path: Path) -> None:
    write(tmp_path)
    top = TOP.rstrip() + " make && rm -rf /var/lib/apt/lists/*\n"
    assert "apt-get" not in split(top + VENV + APP + PIP + CMD, tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TOP + VENV + APP + "RUN pip install .\n" + CMD, "`.` is no plain package"),
        (TOP + VENV + APP + "RUN pip install --target /x flask\n" + CMD, "pip install --target is not understood"),
        (TOP + VENV + APP + "RUN pip install $X\n" + CMD, "does is not known"),
        (TOP + VENV + APP + "RUN pip install flask || pip install django\n" + CMD, "does is not known"),
        (TOP + VENV + APP + "RUN export PIP_USER=1 && pip install flask\n" + CMD, "what it exports"),
        (TOP + APP + "RUN pip install flask\n" + VENV + PIP + CMD, "flask is installed outside of /opt/venv"),
        (TOP + VENV + "ENV PATH=/x/bin:$PATH\n" + APP + PIP + CMD, "no RUN is known to fill"),
        (TOP + VENV + "ENV PIP_TARGET=/x\n" + APP + PIP + CMD, "PIP_TARGET may lead packages out of /opt/venv"),
        (TOP + "USER app\n" + VENV + APP + PIP + CMD, "the user changes before the packages are installed"),
        (TOP + VENV + APP + PIP + "RUN chmod -R o-w /opt\n" + CMD, "what it does to /opt is done to /opt/venv too"),
        (TOP + VENV + APP + PIP + "RUN chown -R app:app /opt/venv\n" + CMD, "/opt/venv is not there yet"),
        (TOP + VENV + APP + PIP + "RUN chown -R $A:$A /opt\n" + CMD, "may make what is needed"),
        (TOP + VENV + APP + PIP + "RUN chown -R app /opt\n" + CMD, "the group of /opt/venv is not certain"),
        (TOP + VENV + APP + PIP + "RUN sed -i s/a/b/ $VIRTUAL_ENV/x\n" + CMD, "may make what is needed"),
        (TOP + VENV + APP + PIP + "RUN python manage.py migrate\n" + CMD, "may make what is needed at run time"),
        (TOP + VENV + APP + "RUN pip install -r requirements.txt && useradd app\n" + CMD, "app is needed at run time"),
        (TOP + "RUN python -m venv --system-site-packages /opt/venv\n" + APP + PIP + CMD, "is not understood"),
        (TOP + VENV + VENV + APP + PIP + CMD, "more than one virtual environment"),
        (TOP + VENV + APP + PIP + "CMD pip list && python main.py\n", "it starts pip"),
        (TOP + VENV + APP + PIP + "VOLUME /opt\n" + CMD, "the volume may cover the program"),
    ],
)
def test_refused(text: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path)
    assert reason in refusal(text, tmp_path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"requirements": "-e ./lib\n"}, "no plain package"),
        ({"requirements": "lib @ git+https://example.com/lib\n"}, "no plain package"),
        ({"requirements": "-r other.txt\n"}, "what other.txt lists is not known"),
        ({"requirements": "scikit_learn>=1\n"}, "whether scikit_learn needs a library of the compiler is not known"),
        ({"main": "import pyximport\n"}, "main.py may start a compiler"),
    ],
)
def test_contexts_that_are_refused(files: dict[str, str], reason: str, tmp_path: Path) -> None:
    write(tmp_path, **files)
    assert reason in refusal(TOP + VENV + APP + PIP + CMD, tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"), [("huge.py", "huge.py cannot be read"), ("requirements.txt", "requirements.txt lists is not")]
)
def test_files_that_are_too_large(name: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path)
    with (tmp_path / name).open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert reason in refusal(TOP + VENV + APP + PIP + CMD, tmp_path)


def test_without_a_context() -> None:
    assert "give --context" in refusal(TOP + VENV + APP + PIP + CMD, None)


@pytest.mark.parametrize(
    "text",
    [
        TOP + APP + PIP + CMD,
        "FROM python:3.11-slim\n" + VENV + APP + PIP + CMD,
        TOP.replace("-slim", "") + VENV + APP + PIP + CMD,
        TOP.replace("-y gcc", "-y gcc && apt-get purge -y gcc") + VENV + APP + PIP + CMD,
    ],
    ids=["no environment", "no compiler", "not slim", "removed again"],
)
def test_silent(text: str, tmp_path: Path) -> None:
    write(tmp_path)
    result = optimize(Source("Dockerfile", text), tmp_path, only=("split_stages",))
    assert not result.changes and not result.refusals
