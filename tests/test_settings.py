"""buildopt.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.errors import UsageError
from buildopt.settings import Creation, Destination, Gates, Settings, find, load

FULL = """
lint:   {ignore: [unpinned-apt-package], exclude: ["vendor/**"], fail-on: info}
images: {api: {context: api, to: [ghcr.io/acme/api]}, web: {context: web}}
gates:  {test: ["/app --version"], scan: ["trivy image --input {oci}"]}
push:
  tags: ["{version}", "{branch}-{sha}"]
thresholds: {workflow: 15m, build: 5m, cache-hits: 80%, failures: 2%}
"""
SHORT = """
build:
  {context: ., dockerfile: Dockerfile, platforms: [amd64, arm64], cache: [gha], platforms-when: {pull_request: [amd64]}}
push:
  to:
    - ghcr.io/acme/app
    - {ref: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app, optional: true, create: true}
"""


def settings(folder: Path, text: str) -> Settings:
    path = folder / "buildopt.yaml"
    path.write_text(text)
    return load(path)


def test_every_documented_key_is_read(tmp_path: Path) -> None:
    full = settings(tmp_path, FULL)
    assert full.lint.ignore == ("unpinned-apt-package",)
    assert full.lint.fail_on == "info"
    assert [(image.name, image.context) for image in full.images] == [("api", "api"), ("web", "web")]
    assert full.images[0].to == (Destination("ghcr.io/acme/api"),)
    assert full.gates.scan == ("trivy image --input {oci}",)
    assert full.tags == ("{version}", "{branch}-{sha}")
    assert dict(full.thresholds)["cache-hits"] == "80%"


def test_build_and_push_are_the_short_form_of_one_image(tmp_path: Path) -> None:
    (image,) = settings(tmp_path, SHORT).images
    assert image.platforms == ("amd64", "arm64")
    assert image.platforms_when == (("pull_request", ("amd64",)),)
    assert image.to[1] == Destination("123456789012.dkr.ecr.eu-west-1.amazonaws.com/app", True, Creation())


@pytest.mark.parametrize(
    ("value", "creation"),
    [
        ("true", Creation()),
        ("false", None),
        ("{}", Creation()),
        ("{tags: immutable, scan: true}", Creation(immutable=True, scan=True)),
        ("{tags: mutable}", Creation()),
    ],
)
def test_how_a_repository_is_made(tmp_path: Path, value: str, creation: Creation | None) -> None:
    (image,) = settings(tmp_path, f"push: {{to: [{{ref: a/b, create: {value}}}]}}").images
    assert image.to[0].create == creation


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("pushh: {}", "unknown key 'pushh'", "did you mean push?"),
        ("push: {tag: [a]}", "push: unknown key 'tag'", "did you mean tags?"),
        ("push: {to: [{reff: a}]}", "push.to[0]: unknown key 'reff'", "did you mean ref?"),
        ("push: {to: [{optional: true}]}", "has no ref", "REGISTRY/REPOSITORY"),
        ("push: {to: [{ref: a, optional: maybe}]}", "must be true or false", ""),
        ("push: {to: [{ref: a, create: maybe}]}", "create: must be true or false", ""),
        ("push: {to: [{ref: a, create: {tag: x}}]}", "push.to[0].create: unknown key 'tag'", "did you mean tags?"),
        ("push: {to: [{ref: a, create: {tags: no}}]}", "must be text", ""),
        ("push: {to: [{ref: a, create: {tags: fixed}}]}", "'fixed' is not a way of tags", "mutable, immutable"),
        ("lint: {fail-on: fatal}", "'fatal' is not a severity", "warning"),
        ("lint: [a]", "lint: must be a mapping", "ignore"),
        ("- a", "must be a mapping, not a list", ""),
        ("a: [", ":1:", "mend the YAML"),
        ("build: {}\nimages: {a: {}}", "cannot stand beside images", "move it"),
    ],
)
def test_mistakes_are_named_with_what_to_do(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(tmp_path, text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "buildopt.yaml" in caught.value.message


def test_the_nearest_file_up_to_the_repository_is_found(tmp_path: Path) -> None:
    (tmp_path / "buildopt.yaml").write_text("{}")
    inner = tmp_path / "repo" / "deep"
    inner.mkdir(parents=True)
    assert find(inner) == tmp_path / "buildopt.yaml"
    (tmp_path / "repo" / ".git").mkdir()
    assert find(inner) is None
    (tmp_path / "repo" / "pyproject.toml").write_text("[tool.buildopt.lint]\nignore = ['DL3008']\n")
    found = find(inner)
    assert found == tmp_path / "repo" / "pyproject.toml"
    assert load(found).lint.ignore == ("DL3008",)


@pytest.mark.parametrize("data", [b"\xff\xfe\0", b"\x80abc"])
def test_a_file_that_is_no_text_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "buildopt.yaml").write_bytes(data)
    with pytest.raises(UsageError, match="not UTF-8 text"):
        load(tmp_path / "buildopt.yaml")


GATE_KEYS = """gates:
  test: [/app --version]
  scan: trivy image --input {oci}
  max-size: 1.5GiB
  non-root: true
  no-secrets: {allow: ["etc/ssl/private/**"]}
  labels: [org.opencontainers.image.source]
  attestations: [provenance, sbom]
  test-platforms: all
  test-network: true
  test-timeout: 2m
"""


def test_gates_are_read(tmp_path: Path) -> None:
    (tmp_path / "buildopt.yaml").write_text(GATE_KEYS)
    gates = load(tmp_path / "buildopt.yaml").gates
    assert gates == Gates(
        test=("/app --version",),
        scan=("trivy image --input {oci}",),
        max_size=3 << 29,
        non_root=True,
        no_secrets=True,
        allowed_secrets=("etc/ssl/private/**",),
        labels=("org.opencontainers.image.source",),
        attestations=("provenance", "sbom"),
        test_platforms=("all",),
        test_network=True,
        test_timeout=120.0,
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("max-size: lots", "a size such as 200MB"),
        ("max-size: 0", "a size such as"),
        ("max-size: -5MB", "a size such as"),
        ("max-size: [1]", "must be text"),
        ("non-root: yes please", "must be true or false"),
        ("no-secrets: {alow: [a]}", "unknown key 'alow'"),
        ("test-timeout: soon", "a time such as 90s"),
        ("test: ['']", "empty command"),
        ("non-rot: true", "unknown key 'non-rot'"),
    ],
)
def test_gates_that_cannot_be_read_are_named(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "buildopt.yaml").write_text(f"gates:\n  {line}\n")
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "buildopt.yaml")
    assert problem in caught.value.message
