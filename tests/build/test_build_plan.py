"""Flags and configuration become one plan, and whatever can be known to fail is said before the engine is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.build import plan
from buildopt.build.plan import BuildPlan, Options
from buildopt.errors import UsageError
from buildopt.settings import Settings, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    return tmp_path


def make(folder: Path, options: Options | None = None, config: str = "") -> BuildPlan:
    settings = Settings()
    if config:
        (folder / "buildopt.yaml").write_text(config)
        settings = load(folder / "buildopt.yaml")
    return plan.make(options or Options(), settings, folder)


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("amd64", "linux/amd64"),
        ("linux/amd64", "linux/amd64"),
        ("LINUX/AMD64", "linux/amd64"),
        ("x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("arm64/v8", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("arm", "linux/arm/v7"),
        ("arm/v6", "linux/arm/v6"),
        ("armhf", "linux/arm/v7"),
        ("i386", "linux/386"),
        ("amd64/v3", "linux/amd64/v3"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platform_names_are_made_whole(typed: str, whole: str) -> None:
    assert plan.platform(typed) == whole


@pytest.mark.parametrize("typed", ["amd46", "linux", "linux/", "beos/amd64", "arm/v9", "amd64,,sparc", "-"])
def test_an_unknown_platform_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        plan.platforms([typed])


def test_platforms_come_each_once_in_their_order() -> None:
    assert plan.platforms(["arm64,amd64", "x86_64", " linux/arm64 "]) == ("linux/arm64", "linux/amd64")
    with pytest.raises(UsageError, match="no platform"):
        plan.platforms([","])


def test_flags_win_over_the_configuration(folder: Path) -> None:
    config = "build: {platforms: [arm64]}\n"
    assert make(folder, config=config).platforms == ("linux/arm64",)
    assert make(folder, Options(platforms=("amd64",)), config).platforms == ("linux/amd64",)


def test_the_image_of_a_context_is_chosen(folder: Path) -> None:
    for name in ("api", "web"):
        (folder / name).mkdir()
        (folder / name / "Dockerfile").write_text("FROM scratch\n")
    (folder / "api" / "prod.Dockerfile").write_text("FROM scratch\n")
    config = "images: {api: {context: api, dockerfile: prod.Dockerfile, platforms: [arm64]}, web: {context: web}}\n"
    found = make(folder, Options(context="api"), config)
    assert (found.dockerfile, found.platforms) == (folder / "api/prod.Dockerfile", ("linux/arm64",))
    assert make(folder, Options(context="web"), config).platforms == ()
    with pytest.raises(UsageError, match="several images are configured: api, web"):
        make(folder, config=config)


def test_a_configured_context_is_relative_to_the_configuration(folder: Path) -> None:
    (folder / "app").mkdir()
    (folder / "app/Dockerfile").write_text("FROM scratch\n")
    (folder / "sub").mkdir()
    (folder / "buildopt.yaml").write_text("build: {context: app}\n")
    found = plan.make(Options(), load(folder / "buildopt.yaml"), folder / "sub")
    assert found.context == folder / "app"
    assert found.output.path == folder / "sub/.buildopt/image"


@pytest.mark.parametrize(
    ("typed", "source", "target"),
    [
        ("gha", "type=gha,scope=image", "type=gha,scope=image,mode=max,ignore-error=true"),
        (
            "gha,mode=min,timeout=2m",
            "type=gha,scope=image,timeout=2m",
            "type=gha,scope=image,timeout=2m,mode=min,ignore-error=true",
        ),
        ("gha=scope=a", "type=gha,scope=a", "type=gha,scope=a,mode=max,ignore-error=true"),
        (
            "registry=ghcr.io/acme/app:cache",
            "type=registry,ref=ghcr.io/acme/app:cache",
            "type=registry,ref=ghcr.io/acme/app:cache,mode=max,ignore-error=true,oci-mediatypes=true,image-manifest=true",
        ),
        (
            "registry=localhost:5000/app:cache,image-manifest=false,mode=min",
            "type=registry,ref=localhost:5000/app:cache",
            "type=registry,ref=localhost:5000/app:cache,image-manifest=false,mode=min,ignore-error=true,oci-mediatypes=true",
        ),
        (
            "s3=bucket=b,region=eu-west-1",
            "type=s3,bucket=b,region=eu-west-1",
            "type=s3,bucket=b,region=eu-west-1,mode=max,ignore-error=true",
        ),
    ],
)
def test_caches(folder: Path, typed: str, source: str, target: str) -> None:
    words = make(folder, Options(caches=(typed,))).arguments(Path("/l"), Path("/m"), Path("/d"))
    assert words[words.index("--cache-from") + 1] == source
    assert words[words.index("--cache-to") + 1] == target


def test_a_local_cache_is_read_once_it_is_there_and_kept_out_of_the_context(folder: Path) -> None:
    options = Options(caches=("local=cache",))
    words = make(folder, options).arguments(Path("/l"), Path("/m"), Path("/d"))
    assert "--cache-from" not in words
    assert words[words.index("--cache-to") + 1] == f"type=local,dest={folder}/cache,mode=max,ignore-error=true"
    (folder / "cache").mkdir()
    (folder / "cache/index.json").write_text("{}")
    found = make(folder, options)
    words = found.arguments(Path("/l"), Path("/m"), Path("/d"))
    assert words[words.index("--cache-from") + 1] == f"type=local,src={folder}/cache"
    assert found.ignore.hidden == (".buildopt", "cache")


def test_configured_caches_count_unless_others_are_typed(folder: Path) -> None:
    (folder / "api").mkdir()
    (folder / "api/Dockerfile").write_text("FROM scratch\n")
    config = "images: {api: {context: api, cache: [gha]}}\n"
    assert make(folder, Options(context="api"), config).caches[0].sources == (("type=gha", "scope=api"),)
    typed = make(folder, Options(context="api", caches=("registry=a/b",)), config).caches
    assert [entry.kind for entry in typed] == ["registry"]


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ghb",
        "registry",
        "registry=Not A Name",
        "local=",
        "s3",
        "s3=region=x",
        "gha=scope",
        "gha,mod=max",
        "gha,mode=all",
        "type=registry,mode=max",
        "type=nothing",
        "registry=a/b,ref=c",
        "gha=token=x",
        "s3=bucket=b,region=r,secret_access_key=x",
    ],
)
def test_a_cache_that_is_none_is_refused(folder: Path, typed: str) -> None:
    with pytest.raises(UsageError):
        make(folder, Options(caches=(typed,)))


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        ("gzip", "compression=gzip,force-compression=true,oci-mediatypes=true"),
        ("zstd:19", "compression=zstd,compression-level=19,force-compression=true,oci-mediatypes=true"),
    ],
)
def test_compressions(folder: Path, typed: str, fields: str) -> None:
    words = make(folder, Options(compression=typed)).arguments(Path("/l"), Path("/m"), Path("/d"))
    assert words[words.index("--output") + 1] == f"type=oci,tar=false,dest=/l,{fields}"


@pytest.mark.parametrize("typed", ["xz", "gzip:10", "zstd:", "zstd:-1", "zstd:23", ":3"])
def test_a_compression_that_is_none_is_refused(folder: Path, typed: str) -> None:
    with pytest.raises(UsageError, match="not a compression"):
        make(folder, Options(compression=typed))


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_missing_dockerfile_is_said_with_the_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Dockerfile") as caught:
        make(tmp_path)
    assert "-f" in caught.value.hint
    (tmp_path / "prod.Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(UsageError) as caught:
        make(tmp_path)
    assert "prod.Dockerfile" in caught.value.hint


def test_a_small_letter_dockerfile_is_found(tmp_path: Path) -> None:
    (tmp_path / "dockerfile").write_text("FROM scratch\n")
    assert make(tmp_path).dockerfile == tmp_path / "dockerfile"


@pytest.mark.parametrize(
    ("data", "problem"), [(b"", "is empty"), (b" \n\t\n", "is empty"), (b"FROM a\0b\n", "is not a text file")]
)
def test_a_dockerfile_that_is_none_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "Dockerfile").write_bytes(data)
    with pytest.raises(UsageError, match=problem):
        make(tmp_path)


def test_a_folder_named_dockerfile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        make(tmp_path)


def test_a_context_that_is_no_folder_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="nowhere does not exist"):
        make(folder, Options(context="nowhere"))
    with pytest.raises(UsageError, match="is a file") as caught:
        make(folder, Options(context="Dockerfile"))
    assert "-f Dockerfile" in caught.value.hint
    with pytest.raises(UsageError, match="must be a folder"):
        make(folder, Options(context="https://github.com/acme/app.git"))


@pytest.mark.parametrize(
    "options",
    [
        Options(names=("Not/A Name",)),
        Options(names=("app@sha256:" + "0" * 64,)),
        Options(labels=("nothing",)),
        Options(build_args=("=x",)),
        Options(build_contexts=("base",)),
        Options(secrets=("id=x,src=nowhere",)),
        Options(output="."),
        Options(output="Dockerfile"),
    ],
)
def test_flags_that_cannot_work_are_refused(folder: Path, options: Options) -> None:
    with pytest.raises(UsageError):
        make(folder, options)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_whole_command(folder: Path) -> None:
    options = Options(
        platforms=("amd64,arm64",),
        names=("app:1",),
        target="run",
        build_args=("A=1", "B"),
        secrets=("id=x,env=S",),
        ssh=("default",),
        labels=("l=1",),
        annotations=("index:a=1",),
        build_contexts=("base=docker-image://x",),
        no_cache=True,
        pull=True,
        provenance="max",
        sbom=True,
    )
    words = make(folder, options).arguments(Path("/s/lay,out"), Path("/s/metadata.json"), Path("/s/Dockerfile"))
    assert words == [
        "build", "--progress", "rawjson", "--metadata-file", "/s/metadata.json",
        "--output", 'type=oci,tar=false,"dest=/s/lay,out"', "--file", "/s/Dockerfile", "--provenance=mode=max",
        "--sbom=true", "--platform", "linux/amd64,linux/arm64", "--target", "run", "--no-cache", "--pull",
        "--tag", "app:1", "--build-arg", "A=1", "--build-arg", "B", "--secret", "id=x,env=S", "--ssh", "default",
        "--label", "l=1", "--annotation", "index:a=1", "--build-context", "base=docker-image://x", "--", str(folder),
    ]  # fmt: skip


def test_secrets_are_not_printed(folder: Path) -> None:
    built = make(folder, Options(build_args=("NPM_TOKEN=s3cr3t", "VERSION=1.2", "DB_PASSWORD=hunter22", "API_KEY")))
    line = built.printed(["docker", "buildx"])
    assert "s3cr3t" not in line and "hunter22" not in line
    assert "NPM_TOKEN=***" in line and "VERSION=1.2" in line
    assert built.secret_values({"API_KEY": "from-outside"}) == ("from-outside", "hunter22", "s3cr3t")


@pytest.mark.parametrize(
    ("name", "secret"),
    [("GITHUB_TOKEN", True), ("aws_secret_access_key", True), ("MY_PASSWORD", True), ("SSH_PRIVATE_KEY", True),
     ("VERSION", False), ("MONKEY", False), ("KEYBOARD", False), ("AUTHOR", False), ("PATH", False)],
)  # fmt: skip
def test_names_that_sound_secret(name: str, secret: bool) -> None:
    assert plan.sounds_secret(name) is secret


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("type=gha,mode=min", "gha,mode=min"),
        ("type=registry,ref=a/b:c,mode=min", "registry=a/b:c,mode=min"),
        ("type=local,dest=cache", "local=cache"),
        ("type=local,src=cache", "local=cache"),
        ("type=s3,region=r,bucket=b", "s3=region=r,bucket=b"),
    ],
)
def test_a_cache_may_be_written_as_buildx_does(folder: Path, theirs: str, ours: str) -> None:
    assert make(folder, Options(caches=(theirs,))).caches == make(folder, Options(caches=(ours,))).caches


def test_a_cache_is_not_written_over_something_else(folder: Path) -> None:
    (folder / "full").mkdir()
    (folder / "full/notes").write_text("")
    (folder / "file").write_text("")
    for place in ("full", "file", ".", ".buildopt/image"):
        with pytest.raises(UsageError):
            make(folder, Options(caches=(f"local={place}",)))
    (folder / "full/index.json").write_text("{}")
    make(folder, Options(caches=("local=full",)))
