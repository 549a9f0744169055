"""References as people type them."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildopt.errors import UsageError
from buildopt.oci import reference
from buildopt.oci.reference import Reference, is_reference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("alpine", "docker.io/library/alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("acme/app", "docker.io/acme/app"),
        ("docker.io/alpine", "docker.io/library/alpine"),
        ("index.docker.io/acme/app:1", "docker.io/acme/app:1"),
        ("ghcr.io/acme/app:v1", "ghcr.io/acme/app:v1"),
        ("GHCR.io/acme/app", "ghcr.io/acme/app"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/a/b/c:t", "localhost:5000/a/b/c:t"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        (f"ghcr.io/acme/app@{DIGEST}", f"ghcr.io/acme/app@{DIGEST}"),
        (f"ghcr.io/acme/app:1@{DIGEST}", f"ghcr.io/acme/app:1@{DIGEST}"),
        ("a.b/c__d.e-f--g:_x", "a.b/c__d.e-f--g:_x"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/app", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"),
    ],
)
def test_a_reference_is_made_whole(text: str, whole: str) -> None:
    assert str(Reference.parse(text)) == whole
    assert str(Reference.parse(whole)) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        ":",
        "@",
        "a//b",
        "a/",
        "/a",
        "ghcr.io/Acme/app",
        "ghcr.io/acme/app:",
        "ghcr.io/acme/app:-x",
        "ghcr.io/acme/app:a b",
        "ghcr.io/acme/app:" + "x" * 129,
        "ghcr.io/acme/app@sha256:12",
        "ghcr.io/acme/../app",
        "ghcr.io/acme/./app",
        "ghcr.io:99999/app",
        "ghcr.io:0/app",
        "https://ghcr.io/acme/app",
        "user:pass@ghcr.io/acme/app",
        "ghcr.io/acme/app?x=1",
        "ghcr.io/acme/app#x",
        "ghcr.io/acme/app\n",
        "-x.io/app",
        "[::1/app",
        "[1.2]:5/app",
        "ghcr.io/" + "a/" * 130 + "a",
        "./image",
        "../image",
        "/tmp/image",
        ".buildopt/image",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    assert not is_reference(text)


@given(st.text(max_size=40))
def test_any_text_is_a_reference_that_reads_back_or_a_usage_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except UsageError:
        return
    assert Reference.parse(str(reference)) == reference
    assert str(reference).isascii()
    assert str(reference).isprintable()


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("localhost:5000/a", True),
        ("127.0.0.2/a", True),
        ("[::1]/a", True),
        ("alpine", False),
        ("10.0.0.1/a", False),
        ("localhost.evil.example/a", False),
        ("127.0.0.1.evil.example/a", False),
    ],
)
def test_only_this_machine_is_loopback(text: str, loopback: bool) -> None:
    assert Reference.parse(text).is_loopback is loopback


@pytest.mark.parametrize(
    ("addresses", "loopback"),
    [(["127.0.0.1", "::1"], True), (["127.0.0.1", "192.0.2.1"], False), (["192.0.2.1"], False), ([], False)],
)
def test_a_name_below_localhost_is_where_it_leads(
    addresses: list[str], loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert host == "k3d-registry.localhost"
        if not addresses:
            raise socket.gaierror
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    reference._leads_here.cache_clear()
    assert Reference.parse("k3d-registry.localhost:5000/app:1").is_loopback is loopback
    reference._leads_here.cache_clear()
