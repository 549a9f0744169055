"""What will be built, as frozen data that can be printed before anything runs."""

from __future__ import annotations

import csv
import io
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildopt.build import cache, epoch, gha, ignore, occasion, rewritten
from buildopt.build.output import HOME, STAGING, Output, parse_output
from buildopt.errors import UsageError
from buildopt.oci.reference import Reference
from buildopt.settings import ImageSettings, Settings, nearest

PROVENANCE = {"off": "false", "min": "mode=min", "max": "mode=max"}
DEFAULT_OUTPUT = ".buildopt/image"
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "amd64/v1": "amd64",
    "aarch64": "arm64",
    "arm64/v8": "arm64",
    "armhf": "arm/v7",
    "armel": "arm/v6",
    "arm": "arm/v7",
    "armv5": "arm/v5",
    "armv6": "arm/v6",
    "armv7": "arm/v7",
    "armv7l": "arm/v7",
    "i386": "386",
    "i686": "386",
    "loongarch64": "loong64",
    "ppc64el": "ppc64le",
}
_ARCHITECTURES = (
    *("amd64", "amd64/v2", "amd64/v3", "amd64/v4", "arm64", "arm64/v9", "arm/v5", "arm/v6", "arm/v7", "386"),
    *("ppc64le", "s390x", "riscv64", "mips64le", "mips64", "loong64", "ppc64"),
)
_SYSTEMS = ("linux", "windows", "freebsd", "darwin")
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY|_KEY$|^KEY$|_AUTH$|_PAT$"
)
_MASK = "***"


@dataclass(frozen=True, slots=True)
class Options:
    """The flags of ``build-once`` as they were typed; None and empty mean not given."""

    context: str | None = None
    dockerfile: str | None = None
    platforms: tuple[str, ...] = ()
    output: str | None = None
    names: tuple[str, ...] = ()
    target: str | None = None
    build_args: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    build_contexts: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False
    provenance: str = "min"
    sbom: bool = False
    builder: str | None = None
    caches: tuple[str, ...] = ()
    compression: str | None = None
    add_hosts: tuple[str, ...] = ()
    optimize: bool = False
    source_date_epoch: str | None = None


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """One buildx build. ``platforms`` is empty where the engine's own one is meant.

    ``shown`` is the Dockerfile as the user knows it, ``ignore`` what must be kept out of the context. ``epoch`` is the
    time, in seconds since 1970, that takes the place of all later ones in the image; None leaves times alone.
    ``because`` says what chose the platforms where it was neither a flag nor the plain list of the configuration.
    """

    context: Path
    dockerfile: Path
    shown: str
    platforms: tuple[str, ...]
    output: Output
    ignore: ignore.Ignore
    caches: tuple[cache.Cache, ...] = ()
    compression: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    epoch: int | None = None
    because: str = ""
    rewritten: rewritten.Rewritten | None = None

    @property
    def copied(self) -> bool:
        """Whether a copy of the Dockerfile is built, with an ignore file of its own."""
        return bool(self.ignore.hidden) or self.rewritten is not None

    def text(self) -> bytes:
        """The Dockerfile that is built. Raises OSError where it cannot be read (any more)."""
        return self.rewritten.text if self.rewritten is not None else self.dockerfile.read_bytes()

    def arguments(self, layout: Path, metadata: Path, dockerfile: Path) -> list[str]:
        """The words after ``buildx``. BuildKit writes to ``layout``, buildx the digest to ``metadata``."""
        options = self.options
        words = ["build", "--progress", "rawjson", "--metadata-file", str(metadata)]
        times = () if self.epoch is None else ("rewrite-timestamp=true",)
        words += ["--output", fields("type=oci", "tar=false", f"dest={layout}", *self.compression, *times)]
        words += ["--file", str(dockerfile), f"--provenance={PROVENANCE[options.provenance]}"]
        words += ["--sbom=true"] if options.sbom else []
        words += ["--platform", ",".join(self.platforms)] if self.platforms else []
        words += ["--target", options.target] if options.target else []
        words += ["--no-cache"] if options.no_cache else []
        words += ["--pull"] if options.pull else []
        for entry in self.caches:
            for source in entry.sources:
                words += ["--cache-from", fields(*source)]
            words += ["--cache-to", fields(*entry.target)] if entry.target else []
        words += [] if self.epoch is None else ["--build-arg", f"{epoch.VARIABLE}={self.epoch}"]
        for flag, values in (
            ("--tag", options.names),
            ("--build-arg", options.build_args),
            ("--secret", options.secrets),
            ("--ssh", options.ssh),
            ("--label", options.labels),
            ("--annotation", options.annotations),
            ("--build-context", options.build_contexts),
            ("--add-host", options.add_hosts),
        ):
            for value in values:
                words += [flag, value]
        return [*words, "--", str(self.context)]

    def preview(self, buildx: Sequence[str]) -> list[str]:
        """The whole command with the paths that a run would use, secrets masked."""
        live = self.output.layout or Path(STAGING)
        folder = live / STAGING / "RUN" if self.output.layout else live
        dockerfile = folder.parent / "definition" / self.dockerfile.name if self.copied else self.dockerfile
        words = [*buildx, *self.arguments(folder / "layout", folder / "metadata.json", dockerfile)]
        return [self.masked(word) for word in words]

    def printed(self, buildx: Sequence[str]) -> str:
        """``preview`` as a line for a shell."""
        return shlex.join(self.preview(buildx))

    def masked(self, word: str) -> str:
        """A word of the command without the value of a build argument whose name sounds secret."""
        if word in self.options.build_args:
            name, equals, _ = word.partition("=")
            if equals and sounds_secret(name):
                return f"{name}={_MASK}"
        return word

    def secret_values(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Values of such build arguments, to be kept out of what people see; a bare name takes its value from
        ``environment``. Values of fewer than four characters say nothing."""
        values = []
        for argument in self.options.build_args:
            name, equals, value = argument.partition("=")
            value = value if equals else environment.get(name, "")
            if sounds_secret(name) and len(value) >= 4:
                values.append(value)
        return tuple(sorted(values, key=len, reverse=True))


def sounds_secret(name: str) -> bool:
    """Whether a build argument's name says that its value is not for everyone."""
    return _SECRET_NAME.search(name.upper()) is not None


def make(options: Options, settings: Settings, folder: Path, environment: Mapping[str, str] | None = None) -> BuildPlan:
    """The plan for flags and a configuration; flags win. ``folder`` is what typed paths are relative to.

    ``environment`` may say when the build is from (SOURCE_DATE_EPOCH) and on what occasion it runs (CI).

    Raises UsageError for whatever can be known to fail before the engine is asked.
    """
    image = choose_image(options, settings, folder)
    context = context_folder(options, settings, image, folder)
    dockerfile, shown = find_dockerfile(options, image, settings, context, folder)
    for name in options.names:
        if Reference.parse(name).digest is not None:
            raise UsageError(f"a name to build cannot carry a digest: {name}", hint="write NAME:TAG")
    for pair in (*options.labels, *options.annotations):
        if not re.match(r"[^=]+=", pair):
            raise UsageError(f"not KEY=VALUE: {pair}", hint="write --label KEY=VALUE, --annotation KEY=VALUE")
    for named in options.build_contexts:
        check_build_context(named)
    for argument in options.build_args:
        if not re.match(r"[A-Za-z_][A-Za-z0-9_.-]*(=|$)", argument):
            raise UsageError(f"not a build argument: {argument.partition('=')[0]}", hint="write --build-arg KEY=VALUE")
    for secret in options.secrets:
        check_secret(secret, folder)
    output = parse_output(options.output or DEFAULT_OUTPUT, folder)
    if output.kind != "stdout" and output.path == context:
        raise UsageError("-o is the build context itself", hint="choose another folder with -o")
    _check_configured_platforms(settings, image)
    chosen, because = occasion.platforms(image, environment or {})
    names = platforms(options.platforms or chosen)
    identity = gha.identity(image.name, context, dockerfile, options.target, environment or {})
    scopes = gha.scopes(identity, names, environment or {})
    base, texts = (folder, options.caches) if options.caches else (settings.folder, image.cache)
    caches = tuple(dict.fromkeys(cache.parse(text, base, scopes) for text in texts))
    local = tuple(entry.folder for entry in caches if entry.folder is not None)
    for place in local:
        if place in output.written or place == context:
            raise UsageError(f"the cache {place} would be written over something else", hint="give it its own folder")
        cache.check_folder(place)
    new = rewritten.rewrite(dockerfile, context) if options.optimize else None
    written = (*output.written, *local, folder / HOME / "records")
    return BuildPlan(
        context=context,
        dockerfile=dockerfile,
        shown=f"{shown} (optimized)" if new is not None and new.passes else shown,
        platforms=names,
        output=output,
        ignore=ignore.find(context, dockerfile, written, new.ignored if new is not None else None),
        caches=caches,
        compression=cache.parse_compression(options.compression) if options.compression else (),
        options=options,
        epoch=_epoch(options, context, environment or {}),
        because="" if options.platforms else because,
        rewritten=new,
    )


def _epoch(options: Options, context: Path, environment: Mapping[str, str]) -> int | None:
    if options.source_date_epoch is None:
        return None
    if any(argument.partition("=")[0] == epoch.VARIABLE for argument in options.build_args):
        raise UsageError(
            f"--source-date-epoch and --build-arg {epoch.VARIABLE} say the same",
            hint="--source-date-epoch alone sets both the argument and the times of files",
        )
    return epoch.resolve(options.source_date_epoch, context, environment)


def check_secret(secret: str, folder: Path) -> None:
    """Raise UsageError for a ``--secret`` whose file is not there."""
    fields = dict(field.partition("=")[::2] for field in secret.split(","))
    source = fields.get("src") or fields.get("source")
    if source and fields.get("type", "file") == "file" and not (folder / source).is_file():
        raise UsageError(f"the secret {fields.get('id', '')} has no file {source}", hint="check src= of --secret")


def check_build_context(named: str) -> None:
    """Raise UsageError for a ``--build-context`` that is not NAME=PATH."""
    if not re.match(r"[^=]+=", named):
        raise UsageError(f"not NAME=PATH: {named}", hint="write --build-context NAME=PATH")


def choose_image(options: Options, settings: Settings, folder: Path) -> ImageSettings:
    """The configured image that CONTEXT means: the one with that context, or the only one. Raises UsageError."""
    images = settings.images
    if options.context is None:
        if len(images) > 1:
            raise UsageError(
                f"several images are configured: {', '.join(image.name for image in images)}",
                hint=f"name the context of one: buildopt build-once {images[0].context}",
            )
        return images[0]
    typed = os.path.realpath(folder / options.context)
    for image in images:
        if os.path.realpath(settings.folder / image.context) == typed:
            return image
    return images[0] if len(images) == 1 else ImageSettings()


def context_folder(options: Options, settings: Settings, image: ImageSettings, folder: Path) -> Path:
    """The build context. Raises UsageError where it is no folder."""
    if options.context is not None:
        shown, path = options.context, folder / options.context
        if options.context == "-" or re.match(r"(https?|git|ssh)://|git@|github\.com/", options.context):
            raise UsageError(f"the context must be a folder, not {shown}", hint="clone or unpack it first")
    elif settings.path is None:
        shown, path = ".", folder
    else:
        shown, path = image.context, settings.folder / image.context
    if not path.is_dir():
        problem = "is a file, not a folder" if path.exists() else "does not exist"
        hint = f"give a Dockerfile with -f: buildopt build-once -f {shown}" if path.is_file() else "check the path"
        raise UsageError(f"the build context {shown} {problem}", hint=hint)
    return Path(os.path.abspath(path))


def find_dockerfile(
    options: Options, image: ImageSettings, settings: Settings, context: Path, folder: Path
) -> tuple[Path, str]:
    """The Dockerfile and how to call it: ``-f`` (from the working folder), the configured one (from the context, or
    from the configuration's folder), or ``Dockerfile``, ``dockerfile`` in the context. Raises UsageError."""
    if options.dockerfile is not None:
        candidates = [folder / options.dockerfile]
    elif image.dockerfile is not None:
        candidates = [context / image.dockerfile, settings.folder / image.dockerfile]
    else:
        candidates = [context / "Dockerfile", context / "dockerfile"]
    path = Path(os.path.abspath(next((path for path in candidates if path.exists()), candidates[0])))
    shown = os.path.relpath(path, folder)
    shown = str(path) if shown.startswith("../../..") else shown
    check_dockerfile(path, shown, context)
    return path, shown


def check_dockerfile(path: Path, shown: str, context: Path) -> None:
    """Raise UsageError for a Dockerfile that is missing, a folder, empty or not text."""
    hint = "name another one with -f FILE"
    try:
        with open(path, "rb") as stream:
            data = stream.read(4 << 20)
    except FileNotFoundError as error:
        others = _like_dockerfiles(context)
        if others:
            hint = f"is it -f {others[0]}?" if len(others) == 1 else f"name one with -f: {', '.join(others)}"
        raise UsageError(f"there is no Dockerfile at {shown}", hint=hint) from error
    except IsADirectoryError as error:
        raise UsageError(f"{shown} is a folder, not a Dockerfile", hint=hint) from error
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror}", hint="check its permissions") from error
    if not data.strip():
        raise UsageError(f"{shown} is empty", hint=hint)
    if b"\0" in data:
        raise UsageError(f"{shown} is not a text file", hint=hint)


def _like_dockerfiles(context: Path) -> list[str]:
    """Files of the context that are Dockerfiles by their name, as ``-f`` would name them."""
    found = [
        path for path in sorted(context.iterdir()) if re.search(r"(?i)(^|\.)(docker|container)file($|\.)", path.name)
    ]
    return [os.path.relpath(path) for path in found if path.is_file() and not path.name.endswith(".dockerignore")][:5]


def _check_configured_platforms(settings: Settings, image: ImageSettings) -> None:
    """Raises UsageError with the key, also of other occasions: a wrong word must not wait for a release."""
    where = f"images.{image.name}" if image.name else "build"
    lists = [
        ("platforms", image.platforms),
        *((f"platforms-when.{event}", words) for event, words in image.platforms_when),
    ]
    for key, words in lists:
        try:
            platforms([word for word in words if word != occasion.ALL] or ["linux/amd64"])
        except UsageError as error:
            place = f"{settings.path}: {where}.{key}"
            raise UsageError(f"{place}: {error.message}", hint=error.hint) from error


def platforms(words: Sequence[str]) -> tuple[str, ...]:
    """Platform names made whole (``amd64`` → ``linux/amd64``), each once. Raises UsageError for an unknown one."""
    found: dict[str, None] = {}
    for word in ",".join(words).split(","):
        if word.strip():
            found[platform(word.strip())] = None
    if words and not found:
        raise UsageError("no platform is named", hint="such as --platforms amd64,arm64")
    return tuple(found)


def platform(word: str) -> str:
    """One platform's whole name. Raises UsageError."""
    system, slash, architecture = word.lower().partition("/")
    if system not in _SYSTEMS:
        system, architecture = "linux", word.lower()
    elif not slash:
        raise UsageError(f"no architecture in platform {word!r}", hint=f"such as {system}/amd64")
    architecture = _ALIASES.get(architecture, architecture)
    if architecture not in _ARCHITECTURES:
        hint = nearest(architecture, [*_ARCHITECTURES, *_ALIASES])
        raise UsageError(f"unknown platform: {word!r}", hint=hint)
    return f"{system}/{architecture}"


def fields(*parts: str) -> str:
    """Comma-separated fields as buildx reads them: those with a comma or a quote are quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(parts)
    return line.getvalue()
