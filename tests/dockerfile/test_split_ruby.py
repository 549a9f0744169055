"""Splitting Ruby files: what is shipped, what the runtime stage repeats, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.dockerfile.parse import parse
from buildopt.source import MAX_BYTES, Source

TOP = "FROM ruby:3.3-slim\nRUN apt-get update && apt-get install -y gcc\n"
APP = "WORKDIR /app\nCOPY . .\n"
GEMS = "RUN bundle install\n"
CMD = 'CMD ["bundle", "exec", "puma"]\n'
LOCK = "GEM\n  specs:\n    {}\n    puma (6.3.0)\n"


def write(context: Path, gem: str = "rack (2.2.7)", **files: str) -> None:
    (context / "Gemfile").write_text("gem 'puma'\n")
    (context / "Gemfile.lock").write_text(LOCK.format(gem))
    for name, text in files.items():
        (context / f"{name}.rb").write_text(text)


def split(text: str, context: Path) -> str:
    """The runtime stage."""
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert result.changes, result.refusals
    assert not parse(result.source).errors
    assert not optimize(result.source, context, only=("split_stages",)).changes
    return "FROM " + result.source.text.partition("\nFROM ")[2]


def refusal(text: str, context: Path | None) -> str:
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert not result.changes
    return result.refusals[0].reason


def test_the_runtime_stage(tmp_path: Path) -> None:
    write(tmp_path)
    assert split(TOP + APP + GEMS + CMD, tmp_path) == (
        "FROM ruby:3.3-slim\nWORKDIR /app\nCOPY . .\nCOPY --from=build /usr/local/bundle /usr/local/bundle\n"
        f"COPY --from=build /app/Gemfile.lock /app/Gemfile.lock\n{CMD}"
    )


@pytest.mark.parametrize(
    ("base", "packages", "installed"),
    [
        ("3.3-slim", "build-essential libpq-dev git", "libpq5 git"),
        ("3.3-slim", "make gcc libffi-dev default-libmysqlclient-dev", "libmariadb3"),
        ("slim-bookworm", "build-essential libvips-dev", "libvips-dev"),
    ],
)
def test_packages(base: str, packages: str, installed: str, tmp_path: Path) -> None:
    write(tmp_path)
    top = f"FROM ruby:{base}\nRUN apt-get update && apt-get install -y {packages}\n"
    assert f"\nRUN apt-get update && apt-get install -y {installed}\n" in split(top + APP + GEMS + CMD, tmp_path)


@pytest.mark.parametrize(
    ("packages", "installed"),
    [("build-base git", "libstdc++ git"), ("gcc musl-dev make", "libgcc"), ("g++ build-base gcc", "libstdc++ libgcc")],
)
def test_packages_of_alpine(packages: str, installed: str, tmp_path: Path) -> None:
    write(tmp_path)
    top = f"FROM ruby:3.3-alpine\nRUN apk add --no-cache {packages}\n"
    assert f"\nRUN apk add --no-cache {installed}\n" in split(top + APP + GEMS + CMD, tmp_path)


def test_a_whole_command_of_compilers(tmp_path: Path) -> None:
    write(tmp_path)
    top = "FROM ruby:3.3-slim\nRUN apt-get update && apt-get install -y gcc \\\n    && apt-get install -y git\n"
    assert "\nRUN apt-get update \\\n    && apt-get install -y git\n" in split(top + APP + GEMS + CMD, tmp_path)


def test_settings_of_the_user_are_repeated(tmp_path: Path) -> None:
    write(tmp_path)
    stage = split(TOP + APP + "RUN bundle config --global frozen 1 && bundle install\n" + CMD, tmp_path)
    assert "\nCOPY . .\nRUN bundle config --global frozen 1\nCOPY --from=build /usr/local/bundle " in stage


def test_the_order_behind_the_gems_stays(tmp_path: Path) -> None:
    write(tmp_path)
    later = "RUN useradd app && chown -R app /app\nENV A=b\nUSER app\nRUN bundle exec rake x\n"
    stage = split(TOP + APP + GEMS + later + CMD, tmp_path)
    assert stage.endswith("Gemfile.lock\n" + later + CMD)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("FROM ruby:3.3\n" + APP + GEMS + CMD, "the image has compilers itself"),
        ("FROM ruby:2.5-slim\n" + APP + GEMS + CMD, "which libraries the image has is not known"),
        ("FROM ruby:3.3-slim\n" + APP + GEMS + CMD, "no RUN installs compilers"),
        (TOP + APP + "RUN bundle install --path vendor\n" + CMD, "puts gems is not certain"),
        (TOP + APP + "RUN bundle config path vendor && bundle install\n" + CMD, "is not known"),
        (TOP + APP + "RUN bundle install || bundle update\n" + CMD, "is not known"),
        (TOP + APP + "RUN bundle install && useradd app\n" + CMD, "stands in one RUN with the gems"),
        (TOP + APP + "RUN bundle install && rm -rf /app/x\n" + CMD, "stands in one RUN with the gems"),
        (TOP + APP + "RUN bundle config a b && bundle install && rm -rf ~/.bundle\n" + CMD, "settings of Bundler"),
        (TOP + "ENV BUNDLE_DEPLOYMENT=1\n" + APP + GEMS + CMD, "BUNDLE_DEPLOYMENT may lead gems elsewhere"),
        (TOP + "ENV BUNDLE_PATH=vendor\n" + APP + GEMS + CMD, "BUNDLE_PATH may lead gems elsewhere"),
        (TOP + "ENV BUNDLE_PATH=/app\n" + APP + GEMS + CMD, "/app holds more than gems"),
        (TOP + APP + GEMS + "RUN pip install x\n" + CMD, "`pip` may need what comes with compilers"),
        (TOP + APP + GEMS + "RUN ./install.sh\n" + CMD, "needs compilers is not known"),
        (TOP + APP + GEMS + "RUN npm install\n" + CMD, "without a lock file"),
        (TOP + APP + GEMS + "RUN curl https://example.com/x | sh\n" + CMD, "needs compilers is not known"),
        (
            TOP.rstrip() + " && tar xJf /x\n" + APP + GEMS + CMD,
            "may need what comes with compilers",
        ),
        (TOP + APP + GEMS + "RUN apt-get purge -y gcc\n" + CMD, "packages are removed again"),
        (TOP + APP + GEMS + "COPY x.rb /usr/local/bundle/\n" + CMD, "it may copy among the gems"),
        (TOP + APP + GEMS + "VOLUME /usr/local/bundle\n" + CMD, "the volume may cover the program"),
        (TOP + APP + GEMS, "there is no CMD or ENTRYPOINT"),
        (TOP + APP + GEMS + "CMD bundle install && puma\n", "containers may run `bundle install`"),
        (TOP + APP + GEMS + 'CMD ["ruby", "--jit", "main.rb"]\n', "containers may run `--jit`"),
    ],
)
def test_refused(text: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, x="")
    assert reason in refusal(text, tmp_path)


@pytest.mark.parametrize("gem", ["numo-linalg (1)", "gpgme (2)", "passenger (6)", "native-package-installer (1)"])
def test_gems_that_are_refused(gem: str, tmp_path: Path) -> None:
    write(tmp_path, gem)
    assert "needs at run time is not known" in refusal(TOP + APP + GEMS + CMD, tmp_path)


@pytest.mark.parametrize("text", ["system('gcc x.c')\n", "require 'mkmf'\n", "`make install`\n"])
def test_sources_that_compile(text: str, tmp_path: Path) -> None:
    write(tmp_path, main=text)
    assert "main.rb may start a compiler" in refusal(TOP + APP + GEMS + CMD, tmp_path)


def test_no_context() -> None:
    assert "give --context" in refusal(TOP + APP + GEMS + CMD, None)


@pytest.mark.parametrize("name", ["Gemfile.lock", "huge.rb"])
def test_files_that_are_too_large(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    with (tmp_path / name).open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert f"{name} cannot be read" in refusal(TOP + APP + GEMS + CMD, tmp_path)
