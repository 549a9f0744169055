"""``buildopt push``: one artifact to any number of registries, digest unchanged."""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from buildopt.commands.common import Output, output_options
from buildopt.commands.push_view import asking, failing, progress, show_preview, show_report
from buildopt.errors import UsageError
from buildopt.oci import gate_record
from buildopt.oci.layout import absent_layers, open_artifact, resolve
from buildopt.oci.lock import reading
from buildopt.oci.reference import Reference, is_reference
from buildopt.settings import Creation, Destination, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildopt.oci.layout import ArtifactSource, Image
    from buildopt.registry.plan import Target

DEFAULT_ARTIFACT = ".buildopt/image"
MANY_FILES = 10_240
"""Open files that are enough for hundreds of destinations; macOS allows no more."""

TYPED = "buildopt.typed"
"""Where the words of the command line are kept in click's context."""

EXAMPLES = """\b
Examples:
  buildopt push ghcr.io/acme/app:1.0
  buildopt push ghcr.io/acme/app 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app --tag {branch}-{sha}
  buildopt push --from-oci image.tar          (to the registries of buildopt.yaml)
  buildopt push ghcr.io/acme/app --semver     (on the git tag v1.2.3: 1.2.3, 1.2, 1 and latest)
  buildopt push --dry-run                     (what would be sent where, and which tags would move)
  buildopt push ghcr.io/acme/app:1.0 --optional quay.io/acme/app:1.0 --format json --report push.json
"""


class _Typed(click.Command):
    """A command that keeps its words as they were typed, to be shown corrected."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[TYPED] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Typed, epilog=EXAMPLES)
@click.argument("refs", nargs=-1, metavar="[REF]...")
@click.option(
    "--from-oci",
    "artifact",
    is_flag=False,
    flag_value=DEFAULT_ARTIFACT,
    default=DEFAULT_ARTIFACT,
    metavar="[PATH]",
    help=f"The layout folder or tar to push ({DEFAULT_ARTIFACT}).",
)
@click.option("--tag", "templates", multiple=True, metavar="T", help="Tag; fields {branch} {sha} {version} {date}.")
@click.option("--semver", is_flag=True, help="Tag a version 1.2.3 as 1.2, 1 and latest too.")
@click.option("--optional", multiple=True, metavar="REF", help="Push there too; its failure is not fatal.")
@click.option("--platform", metavar="P", help="Push this platform as an image of its own.")
@click.option("--image", "wanted", default="", metavar="NAME", help="Of several images the one of this name or digest.")
@click.option("--create", is_flag=True, help="Make repositories of ECR that do not exist.")
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="Blobs sent at once to each registry.")
@click.option("--dry-run", is_flag=True, help="Ask the registries what would be sent; send nothing.")
@click.option("--allow-ungated", is_flag=True, help="Push it though a gate failed or was interrupted.")
@click.option("--require-gates", is_flag=True, help="Push only what has passed its gates.")
@click.option(
    "--report", "report_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the JSON here too."
)
@output_options()
def push(
    refs: tuple[str, ...],
    artifact: str,
    templates: tuple[str, ...],
    semver: bool,
    optional: tuple[str, ...],
    platform: str | None,
    wanted: str,
    create: bool,
    jobs: int | None,
    dry_run: bool,
    allow_ungated: bool,
    require_gates: bool,
    report_file: Path | None,
    output: Output,
) -> int:
    """Push an OCI artifact to registries: every destination gets the same bytes and is checked for the same digest.

    Without REF, the destinations of buildopt.yaml are pushed to. A REF with a tag is pushed as typed; the tags of
    buildopt.yaml, or --tag, go to those without one. What failed its gates, or was interrupted in them, is not pushed.

    The fields of tags are what GitHub Actions or GitLab CI say that they build, else what git has here: {branch} with
    dashes for what no tag may hold (in a pull request: the branch that asks to be merged), {sha} the first seven digits
    of the commit, {version} the git tag on it without its v, {date} today in UTC as YYYYMMDD.

    --semver (push: {semver: true} in buildopt.yaml) tags the version 1.2.3 (git's, or a --tag 1.2.3) as 1.2.3, 1.2, 1
    and latest; 0.2.3 as 0.2.3, 0.2 and latest; a prerelease, or a version with build metadata (1.2.3+5 as 1.2.3-5),
    only as itself. These names move to what is pushed last, also where that is older than what they name: leave
    --semver out for a fix of an older version. --dry-run tells which tags would move, and from where.

    --dry-run sends only questions: which blobs and manifests are missing, which tags are new, would move or are
    right already. It ends as the push would, as far as can be known: who may write, only a token tells,
    and of some registries not even that; and what a registry will not mount is sent.
    """
    from buildopt.registry.trust import Trust

    trust = Trust(os.environ)
    trust.prepare()
    allow_many_files()
    from buildopt.registry.credentials import Keychain
    from buildopt.registry.plan import PushPlan

    check_path(artifact, refs, optional)
    if report_file is not None:
        check_writable(report_file)
        forget(report_file)
    with failing():
        targets = destinations(refs, optional, templates, output.settings(Path()), output, create, semver)
        with reading(Path(artifact)):  # a build that finishes meanwhile leaves these blobs where they are
            source = open_artifact(Path(artifact))
            image = resolve(source, wanted, partial=platform is not None)
            gate_record.check(source, image, allow=allow_ungated, require=require_gates)
            if platform is not None:
                image = of_platform(image, platform, source)
            for layer in absent_layers(source, image):
                where = ", ".join(gate_record.printable(url) for url in layer.urls[:3]) or "nowhere"
                output.message(f"not in the artifact, and not sent: layer {layer.digest}; it is said to be at {where}")
            plan = PushPlan(source, image, targets)
            if jobs is not None:
                plan = replace(plan, jobs=jobs)
            keychain = Keychain.load(os.environ)
            if dry_run:
                from buildopt.registry.preview import preview

                found = preview(plan, keychain, trust, asking(output))
                report = found.report
                document = show_preview(plan, found, output)
            else:
                from buildopt.registry.push import push as send

                with progress(plan, output) as on_event:
                    report = send(plan, keychain, trust, on_event)
                document = show_report(report, output)
    if report_file is not None:
        from buildopt.source import write_atomic

        write_atomic(report_file, document.encode())
    return report.exit_code


def check_writable(path: Path) -> None:
    """Raises UsageError, before anything is sent, for a --report that could not be written afterwards."""
    if path.is_dir():
        raise UsageError(f"--report {path} is a folder", hint="name a file")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.parent}", hint="make it first")
    if not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"--report {path}: {path.parent} cannot be written to", hint="check its permissions")


def of_platform(image: Image, platform: str, source: ArtifactSource) -> Image:
    """The image of one platform, also by another of its names (aarch64, arm64/v8). Raises UsageError."""
    from buildopt.build.plan import platform as usual_name
    from buildopt.registry.plan import one_platform

    try:
        return one_platform(image, platform, source)
    except UsageError:
        with suppress(UsageError):
            return one_platform(image, usual_name(platform), source)
        raise


def forget(report: Path) -> None:
    """Remove the report of an earlier push: where this one does not come to its end, nobody takes that one for its."""
    if report.is_file():
        with suppress(OSError):
            os.unlink(os.path.realpath(report))


def allow_many_files() -> None:
    """Let this process open as many files as it may: each destination has dozens of connections."""
    try:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (ImportError, OSError, ValueError):
        return  # no such thing here, or no more of it


def check_path(artifact: str, refs: tuple[str, ...], optional: tuple[str, ...]) -> None:
    """Raises UsageError where the word after --from-oci is a reference and no artifact."""
    if os.path.lexists(artifact) or not is_reference(artifact):
        return
    reference = Reference.parse(artifact)
    named = reference.tag or reference.digest or artifact.startswith(f"{reference.registry}/")
    if named or not (refs or optional or artifact.endswith((".tar", "/"))):
        raise UsageError(
            f"there is no artifact at {artifact}: it is a reference, and the word after --from-oci is a path",
            hint=f"buildopt push {shlex.join(_corrected(click.get_current_context().meta[TYPED], artifact))}",
        )


def _corrected(words: Sequence[str], artifact: str) -> list[str]:
    """The words with the reference in its place, and --from-oci where no word follows."""
    kept: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--from-oci":
            kept += [value] if equals and value == artifact else []
        else:
            kept.append(word)
    return [*kept, "--from-oci"]


def destinations(
    refs: tuple[str, ...],
    optional: tuple[str, ...],
    templates: tuple[str, ...],
    settings: Settings,
    output: Output,
    create: bool = False,
    semver: bool = False,
) -> tuple[Target, ...]:
    """Every reference to push to, with its tag; missing repositories are made at all of them where ``create`` is set.

    ``semver``: a version among the tags, or git's, gets its shorter names too.
    Raises UsageError where there is no destination, or a tag cannot be made.
    """
    from buildopt.registry.plan import Target

    if refs or optional:
        wanted = [*(Destination(ref) for ref in refs), *(Destination(ref, optional=True) for ref in optional)]
        parsed = [(Reference.parse(entry.ref), entry) for entry in wanted]
    else:
        parsed = _configured(settings)
        wanted = [entry for _, entry in parsed]
    creations = {entry: entry.create or (Creation() if create else None) for entry in wanted}
    _check_creations([(reference, creations[entry]) for reference, entry in parsed], output)
    names: tuple[str, ...] = ()
    if any(not (reference.tag or reference.digest) for reference, _ in parsed):
        names = _tags(templates, settings, output, semver)
    elif templates:
        raise UsageError("--tag has no destination: every REF has a tag already", hint="leave out --tag or the tags")
    elif semver:
        first = parsed[0][0]
        words = f"{first.name} --tag {first.tag} --semver" if first.tag else f"{first.name} --semver"
        raise UsageError(
            "--semver has no destination: a REF with a tag is pushed as it is typed", hint=f"buildopt push {words}"
        )
    targets: dict[str, Target] = {}
    for reference, entry in parsed:
        with _told_of(settings, "" if templates else "push.tags"):
            tagged = [reference] if reference.tag or reference.digest else [reference.with_tag(name) for name in names]
        for one in tagged:
            known = targets.get(str(one))
            made = creations[entry] or (known.create if known is not None else None)
            targets[str(one)] = Target(one, entry.optional and (known is None or known.optional), made)
    return tuple(targets.values())


def _check_creations(wanted: Sequence[tuple[Reference, Creation | None]], output: Output) -> None:
    """Say where nothing will be made, or not as it is wanted."""
    from buildopt.registry.profiles import profile_of

    said = []
    for reference, creation in wanted:
        profile = profile_of(reference.registry)
        if creation is None:
            continue
        if not profile.service:
            first = "the first push makes the repository" if profile.first_push else "it is for ECR only"
            said.append(f"{reference.registry}: nothing to create: {first}")
        elif profile.region and creation != Creation():
            said.append(f"{reference.registry}: create: tags and scan cannot be set at ECR Public")
    for line in dict.fromkeys(said):
        output.message(line)


def _configured(settings: Settings) -> list[tuple[Reference, Destination]]:
    if len(settings.images) > 1:
        names = ", ".join(image.name for image in settings.images)
        raise UsageError(f"several images are configured: {names}", hint="name the REFs to push this artifact to")
    found = list(settings.images[0].to) if settings.images else []
    if not found:
        raise UsageError(
            "no destination", hint="buildopt push REGISTRY/REPOSITORY:TAG, or list them in buildopt.yaml as push: to:"
        )
    name = settings.images[0].name
    where = f"images.{name}.to" if name else "push.to"
    parsed = []
    for number, entry in enumerate(found):
        with _told_of(settings, f"{where}[{number}]"):
            parsed.append((Reference.parse(entry.ref), entry))
    return parsed


@contextmanager
def _told_of(settings: Settings, where: str) -> Iterator[None]:
    """A wrong word of the configuration is told with its place there; ``where`` is empty for words of others."""
    try:
        yield
    except UsageError as error:
        if not where or settings.path is None:
            raise
        raise UsageError(f"{settings.path}: {where}: {error.message}", hint=error.hint) from error


def _tags(templates: tuple[str, ...], settings: Settings, output: Output, semver: bool) -> tuple[str, ...]:
    from buildopt.registry import tags

    chosen = templates or settings.tags
    fanning = semver or settings.semver
    if not chosen and not fanning:
        output.message("no tag given: using latest")
        return (tags.LATEST,)
    asked = fanning or any("{" in template for template in chosen)
    found = tags.checkout(os.environ, Path()) if asked else tags.Checkout()
    with _told_of(settings, "" if templates else "push.tags"):
        named = tags.named(chosen, found, semver=fanning)
    for template, missing in named.left_out:
        problem = f"the tag {template!r} has no {', '.join(missing)} here"
        if templates:
            raise UsageError(problem, hint=tags.hint_for(missing))
        output.message(f"{problem}: left out")
    if fanning and not named.versioned:
        problem = f"the git tag {found.tag!r} is no semantic version" if found.tag else "there is no version here"
        if semver:
            raise UsageError(
                f"--semver: {problem}",
                hint="run it where git has a tag such as v1.2.3 on this commit (a shallow clone needs: "
                "git fetch --tags), or name the version: --tag 1.2.3 --semver",
            )
        output.message(f"{problem}: no tags of semver")
    if not named.names:
        raise UsageError("none of the configured tags has a value here", hint="give one with --tag")
    if named.versioned:
        output.message(f"tags: {', '.join(named.names)}")
    return named.names
