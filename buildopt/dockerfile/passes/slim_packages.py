"""Python, Node and Ruby packages that need nothing of a full image: no compiler, no library, no program."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from buildopt.dockerfile.files import json_value, read_text
from buildopt.dockerfile.managers import word_set

# Pure Python, with pure dependencies, or with an accelerator that they do without where nothing compiles it.
_PURE = word_set(
    """aiofiles annotated-types anyio apscheduler arrow asgiref attrs beautifulsoup4 black bleach blinker boto boto3
    botocore bottle bs4 cachetools celery certifi channels chardet charset-normalizer click cloudpickle colorama
    configparser croniter dataclasses decorator defusedxml deprecated django django-cors-headers django-environ
    django-extensions django-filter django-rest-framework djangorestframework djangorestframework-simplejwt dnspython
    docopt ecdsa elasticsearch email-validator environs faker feedparser filelock flake8 flask flask-caching
    flask-cors flask-jwt-extended flask-limiter flask-login flask-mail flask-marshmallow flask-restful flask-wtf future
    google-auth gunicorn h11 h2 html5lib httpcore httplib2 httpx hyperframe idna importlib-metadata inflection
    iniconfig isodate itsdangerous jinja2 jmespath joblib jsonpickle kafka-python kombu loguru mako markdown
    markdown2 markupsafe marshmallow mistune mock mongoengine more-itertools multipart networkx oauthlib openpyxl
    packaging paho-mqtt passlib pathspec peewee pika pip platformdirs pluggy prettytable prometheus-client
    prometheus-flask-exporter prompt-toolkit pyasn1 pyasn1-modules pycodestyle pyflakes pygments pyjwt pylint pymongo
    pymysql pyparsing pypdf pypdf2 pytest pytest-cov python-dateutil python-decouple python-dotenv python-jose
    python-json-logger python-multipart python-slugify pytz pyyaml redis requests requests-oauthlib requests-toolbelt
    retrying rfc3986 rich rsa s3transfer schedule schema semver sentry-sdk setuptools simplejson six slack-sdk
    sniffio sortedcontainers soupsieve sqlparse starlette stripe structlog tabulate tenacity termcolor text-unidecode
    toml tomli tomlkit toolz tornado tqdm tweepy typer typing-extensions tzdata tzlocal unidecode uritemplate urllib3
    uvicorn validators vine waitress wcwidth webargs webencodings websocket-client websockets werkzeug wheel
    whitenoise wrapt wtforms xlrd xlsxwriter zipp"""
)
# Compiled, with wheels for every released Python on amd64 and arm64: their newest release never has to be compiled.
_WHEELS = word_set(
    """aiohttp argon2-cffi asyncpg bcrypt cffi cryptography greenlet grpcio httptools lxml matplotlib msgpack numpy
    orjson pandas pillow protobuf psutil psycopg2-binary pyarrow pydantic pydantic-core pydantic-settings pynacl
    rpds-py scikit-learn scipy ujson uvloop watchfiles yarl zstandard"""
)
# Pure, but with such a dependency, whose newest release is taken.
_ABOVE_WHEELS = word_set(
    """alembic authlib daphne fastapi flask-admin flask-bcrypt flask-migrate flask-restx flask-sqlalchemy jsonschema
    marshmallow-sqlalchemy python-telegram-bot referencing sqlalchemy"""
)
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?\s*(.*)")
_EXTRAS = frozenset(
    ("standard", "dotenv", "async", "email", "security", "socks", "asyncio", "crypto", "bcrypt", "flask")
)

# Node packages with install scripts that compile nothing: they print, or fetch what is made for the C library alone.
_SCRIPTED = re.compile(
    r"(?:core-js(?:-pure|-bundle)?|esbuild|protobufjs|@nestjs/core|@swc/core|fsevents|styled-components|@scarf/scarf"
    r"|es5-ext|nodemon|unrs-resolver|@parcel/watcher|msgpackr-extract|ejs|swagger-ui-dist|aws-sdk|preact|@apollo/protobufjs"
    r"|vue-demi|tailwindcss|@tailwindcss/oxide|less|type-graphql)"
)
_PREBUILT = re.compile(
    r"(?:@esbuild/|@swc/|@rollup/rollup-|@rolldown/|@next/swc-|@parcel/watcher-|@tailwindcss/oxide-|@unrs/resolver-"
    r"|@biomejs/|@msgpackr-extract/|@rspack/|@img/sharp-|@oxc-|lightningcss|fsevents$|turbo-|@turbo/|@napi-rs/wasm-).*"
)
# They start programs, or load libraries, that a full image has.
_DEMANDING = re.compile(
    r"(?:prisma|@prisma/.*|puppeteer.*|playwright.*|canvas|simple-git|nodegit|dugite|gm|imagemagick|node-gyp|oracledb|odbc"
    r"|pg-native|libpq|cypress|electron|nightmare|fluent-ffmpeg|ffmpeg.*|pdf-image|node-cmd|shelljs"
    r"|bcrypt|sqlite3|better-sqlite3|node-sass|grpc|re2|ref-napi|ffi-napi|usb|serialport|zeromq|systeminformation|ps-node)"
)

# Ruby gems without native extensions.
_GEMS = word_set(
    "base64 builder bundler concurrent-ruby i18n logger mustermann mustache rack rack-protection rack-session rackup "
    "rake ruby2_keywords sinatra sinatra-contrib tilt multi_json tzinfo webrick zeitwerk"
)


def requirement_problem(line: str, minor: int | None) -> str:
    """Why a requirement may need what a slim Python image lacks; empty where it does not.

    ``minor`` is 12 for Python 3.12, None where it is not known.
    """
    text = re.sub(r"(?:^|\s)#.*", "", line).split(";")[0].strip()
    text = re.sub(r"\s*--hash=\S+", "", text).rstrip("\\").strip()
    if not text:
        return ""
    match = _REQUIREMENT.fullmatch(text)
    if match is None or "://" in text or "@" in text or text.startswith((".", "/")):
        return f"`{text[:60]}` is not a plain requirement"
    name = re.sub(r"[-_.]+", "-", match[1]).lower()
    extras = {extra.strip() for extra in (match[2] or "").split(",") if extra.strip()}
    if extras - _EXTRAS:
        return f"what {match[1]}[{sorted(extras - _EXTRAS)[0]}] brings along is not known"
    if name in _PURE:
        return ""
    if name not in _WHEELS | _ABOVE_WHEELS:
        return f"{match[1]} may have to be compiled, or need a library of the full image"
    if minor is None or not 9 <= minor <= 13:
        return f"{match[1]} may have no wheel for this Python"
    if name in _ABOVE_WHEELS:
        return ""
    if "==" in match[3] or "<" in match[3] or "~=" in match[3]:
        return f"this release of {match[1]} may have to be compiled"
    return ""


def lock_problem(lock: Path) -> str:
    """Why the packages of a package-lock.json may need what a slim Node image lacks; empty where they do not."""
    try:
        document = json_value(read_text(lock))
    except (OSError, ValueError):
        return "no package-lock.json says which packages are compiled"
    packages = document.get("packages") if isinstance(document, dict) else None
    if not isinstance(packages, dict):
        return "package-lock.json is too old to say which packages are compiled"
    for path, entry in packages.items():
        name = str(path).rpartition("node_modules/")[2]
        if not path or not isinstance(entry, dict) or entry.get("link"):
            continue
        if str(entry.get("resolved", "")).startswith(("git", "ssh", "file:")) or "node_modules/" not in str(path):
            return f"{name or path} does not come from a registry"
        if _DEMANDING.fullmatch(name):
            return f"{name} needs libraries or programs of the full image"
        if entry.get("hasInstallScript") and not _SCRIPTED.fullmatch(name) and not _PREBUILT.fullmatch(name):
            return f"{name} may be compiled when it is installed"
        if ("cpu" in entry or "os" in entry) and not (_PREBUILT.fullmatch(name) or _SCRIPTED.fullmatch(name)):
            return f"{name} is made for one platform, and may need a library of the full image"
    return ""


def gems_problem(lock: Path) -> str:
    """Why the gems of a Gemfile.lock may need what a slim Ruby image lacks; empty where they do not."""
    try:
        text = read_text(lock)
    except OSError:
        return "no Gemfile.lock says which gems are compiled"
    if re.search(r"^(?:GIT|PATH)\b", text, re.MULTILINE):
        return "a gem does not come from a gem server"
    names: Iterable[str] = re.findall(r"^    ([A-Za-z0-9._-]+) \(", text, re.MULTILINE)
    return next((f"{name} may be compiled when it is installed" for name in names if name not in _GEMS), "")
