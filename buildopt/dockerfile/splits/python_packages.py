"""Packages of Python and what of Debian's they need at run time, where that is known.

Tables and no rules: compilers bring libraries of their own (OpenMP, Fortran), which a package may be linked with.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildopt.dockerfile.files import read_text
from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.splits.brought import Brought, origin_of
from buildopt.dockerfile.splits.python_venv import GLOBAL, Install, Venv
from buildopt.dockerfile.splits.splits import No, Subject

# What only compiles. The libraries of these headers are part of every slim image of Python, which is linked with them.
COMPILERS = word_set(
    """gcc g++ build-essential make cmake libc6-dev libc-dev python3-dev python-dev pkg-config autoconf automake
    libffi-dev libssl-dev zlib1g-dev"""
)
# The libraries have the same names in all releases of Debian since the eleventh; these two not for sure in later ones.
_LIBRARIES = {"libpq-dev": "libpq5", "default-libmysqlclient-dev": "libmariadb3", "libmariadb-dev": "libmariadb3"}
_OF_RELEASES = {"libxml2-dev": "libxml2", "libxslt1-dev": "libxslt1.1"}
# Neither they nor what they depend on is linked with a compiler's own libraries.
_PLAIN = word_set(
    """aiofiles aiohttp aiosqlite alembic amqp annotated-types anyio argon2-cffi asgiref asyncpg attrs bcrypt billiard
    black blinker bottle cachetools celery certifi cffi channels charset-normalizer click colorama cryptography
    daphne dj-database-url django django-allauth django-cors-headers django-crispy-forms django-debug-toolbar
    django-environ django-extensions django-filter django-redis django-storages djangorestframework
    djangorestframework-simplejwt docutils drf-spectacular drf-yasg ecdsa email-validator environs eventlet falcon
    fastapi flask flask-bcrypt flask-cors flask-jwt-extended flask-limiter flask-login flask-mail flask-marshmallow
    flask-migrate flask-restful flask-sqlalchemy flask-wtf gevent greenlet gunicorn h11 hiredis httpcore httptools
    httpx idna importlib-metadata itsdangerous jinja2 jmespath jsonschema kombu lxml mako markdown markupsafe
    marshmallow motor multidict mysqlclient orjson packaging passlib peewee pillow pip prometheus-client
    prompt-toolkit psutil psycopg psycopg2 psycopg2-binary pyasn1 pycparser pydantic pydantic-core pydantic-settings
    pygments pyjwt pymongo pymysql pyparsing pytest python-dateutil python-decouple python-dotenv python-jose
    python-multipart pytz pyyaml redis requests rsa rq sanic sentry-sdk setuptools simplejson six slowapi sniffio
    sqlalchemy sqlmodel sqlparse starlette structlog tenacity tornado tqdm typing-extensions tzdata ujson urllib3
    uvicorn uvloop vine waitress watchfiles wcwidth websockets werkzeug wheel whitenoise wtforms yarl zipp
    zope-interface"""
)
_VALUED = word_set(
    "-r --requirement -c --constraint -i --index-url --extra-index-url --trusted-host --timeout --retries"
)
_FLAGS = word_set(
    """--no-cache-dir -U --upgrade -q -qq --quiet --disable-pip-version-check --no-compile --prefer-binary --no-deps
    --require-hashes --no-warn-script-location --pre --no-input -v --no-color"""
)
_NAME = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[\w\s,.-]*\])?\s*(?:[=<>~!;(].*)?", re.DOTALL)


def libraries_of(text: str, tag: str) -> str:
    """A RUN's text with the packages of headers replaced by those of their libraries; the tag tells the release."""
    named = re.search(r"-(?:bullseye|bookworm|trixie)$", tag) is not None
    known = {**_LIBRARIES, **_OF_RELEASES} if named else _LIBRARIES
    return re.sub(
        r"(?<![\w.+-])[\w.+-]+-dev(?![\w.+:=/-])", lambda match: known.get(match.group(), match.group()), text
    )


def installed(subject: Subject, venv: Venv, entries: Sequence[Brought]) -> None:
    """Refuse where pip installs what is not known to run without compilers, or outside of it. Raises No."""
    assert subject.context is not None
    for install in venv.installs:
        for name in _names(install, entries, subject.context):
            plain = re.sub(r"[-_.]+", "-", name.lower())
            if not install.inside and plain not in GLOBAL:
                raise No(install.run.instruction, f"{name} is installed outside of {venv.path}")
            if plain not in _PLAIN and plain not in GLOBAL:
                raise No(install.run.instruction, f"whether {name} needs a library of the compiler is not known")


def _names(install: Install, entries: Sequence[Brought], context: Path) -> Iterator[str]:
    words = iter(install.words)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in _VALUED and word.startswith("-"):
            value = value if equals else next(words, "")
            if flag in ("-r", "--requirement"):
                path = posixpath.normpath(posixpath.join(install.folder, value))
                yield from _listed(install, origin_of(entries, path), context, value, 0)
        elif word.startswith("-") and word not in _FLAGS:
            raise No(install.run.instruction, f"pip install {word} is not understood")
        elif not word.startswith("-"):
            yield _name(install, word)


def _listed(install: Install, origin: str | None, context: Path, shown: str, depth: int) -> Iterator[str]:
    if origin is None or depth > 4 or not (context / origin).is_file():
        raise No(install.run.instruction, f"what {shown} lists is not known")
    try:
        text = read_text(context / origin).replace("\\\n", " ")
    except OSError:
        raise No(install.run.instruction, f"what {shown} lists is not known") from None
    for line in text.splitlines():
        line = re.sub(r"(?:^|\s)#.*", "", line)
        line = re.sub(r"\s--hash=\S+", "", line).strip()
        other = re.fullmatch(r"(?:-r|--requirement)[ =]*(\S+)", line)
        if other is not None:
            below = posixpath.normpath(posixpath.join(posixpath.dirname(origin), other[1]))
            yield from _listed(install, below, context, other[1], depth + 1)
        elif line and re.match(r"(?:-i|--index-url|--extra-index-url|--trusted-host)[ =]", line) is None:
            yield _name(install, line)


def _name(install: Install, text: str) -> str:
    match = _NAME.fullmatch(text.strip())
    if match is None or text.strip().endswith((".whl", ".gz", ".zip")):
        raise No(install.run.instruction, f"`{text[:60]}` is no plain package: it may stay tied to the sources")
    return match[1]
