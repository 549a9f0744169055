"""What a dry run says, compared with what a push then does; asked of a real registry over TLS wherever one does it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import artifacts
import pytest
from scripted import Handler, Scripted, scripted_registry

from buildopt.cli import main
from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import retry
from buildopt.registry.credentials import Keychain
from buildopt.registry.grants import may_push
from buildopt.registry.outcome import PushReport
from buildopt.registry.plan import PushPlan, Target, one_platform
from buildopt.registry.preview import Preview, preview
from buildopt.registry.push import push
from buildopt.registry.trust import Trust
from buildopt.sandbox.certificates import Certificates, make_certificates
from buildopt.sandbox.registries import Basic, RunningRegistry, registry_server, start_ghcr, stopped_after
from buildopt.sandbox.tokens import User

PASSWORD = "hush-hush"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "made", ())


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RunningRegistry]:
    with registry_server(tmp_path_factory.mktemp("real"), tls=certificates) as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RunningRegistry]:
    """A registry that wants a password."""
    with registry_server(tmp_path_factory.mktemp("closed"), tls=certificates, auth=Basic("me", PASSWORD)) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RunningRegistry]:
    """A registry with a token server, that lets a reader only pull."""
    users = (User("me", PASSWORD), User("reader", PASSWORD, ("pull",)), User("", "", ("pull",)))
    with stopped_after(start_ghcr(tmp_path_factory.mktemp("tokens"), certificates, users)) as running:
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificates: Certificates) -> Path:
    """A working folder with an artifact at the usual place, no credentials, and trust in the registries."""
    artifacts.make_layout(tmp_path / ".buildopt" / "image", size=50_000)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.bundle))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    return tmp_path


def methods(running: RunningRegistry, since: int = 0) -> set[str]:
    """The methods of the requests in a registry's own log, from a byte of it on."""
    return set(re.findall(r'"([A-Z]+) /v2/\S* HTTP', running.log.read_bytes()[since:].decode()))


def made(certificates: Certificates, *references: str, platform: str = "") -> tuple[PushPlan, Trust]:
    source = open_artifact(Path(".buildopt/image"))
    image = resolve(source)
    if platform:
        image = one_platform(image, platform)
    targets = tuple(Target(Reference.parse(text)) for text in references)
    return PushPlan(source, image, targets), Trust({"SSL_CERT_FILE": str(certificates.bundle)}, ())


def asked(certificates: Certificates, *references: str, platform: str = "") -> Preview:
    plan, trust = made(certificates, *references, platform=platform)
    return preview(plan, Keychain(), trust)


def pushed(certificates: Certificates, *references: str, platform: str = "") -> PushReport:
    plan, trust = made(certificates, *references, platform=platform)
    return push(plan, Keychain(), trust)


def figures(report: PushReport) -> list[tuple[str, int, int, int]]:
    return [
        (outcome.reference, outcome.bytes_sent, outcome.bytes_mounted, outcome.bytes_present)
        for outcome in report.outcomes
    ]


def test_a_dry_run_asks_and_writes_nothing(real: RunningRegistry, certificates: Certificates) -> None:
    since = len(real.log.read_bytes())
    found = asked(certificates, f"{real.authority}/ask/one:1", f"{real.authority}/ask/two:1")
    assert methods(real, since) == {"GET", "HEAD"}
    assert not (real.storage / "docker/registry/v2/repositories/ask").exists()
    assert [tag.state for tag in found.tags] == ["new", "new"]
    assert [entry.exists for entry in found.repositories] == [False, False]
    assert found.report.exit_code == 0


def test_what_it_says_is_what_the_push_then_does(real: RunningRegistry, certificates: Certificates) -> None:
    """Step by step: nothing there; one platform there; all there but another tag; all there."""
    name = f"{real.authority}/same/app"
    steps = (
        ((f"{name}:arm",), "arm64", ["new"]),
        ((f"{name}:1", f"{name}:2"), "", ["new", "new"]),
        ((f"{name}:1", f"{name}:3"), "", ["right", "new"]),
        ((f"{name}:1", f"{name}:2"), "", ["right", "right"]),
        ((f"{name}:1",), "amd64", ["moved"]),
    )
    for references, platform, states in steps:
        found = asked(certificates, *references, platform=platform)
        assert [tag.state for tag in found.tags] == states
        assert figures(found.report) == figures(pushed(certificates, *references, platform=platform))
    image = resolve(open_artifact(Path(".buildopt/image")))
    (tag,) = found.tags
    assert tag.old == str(image.digest)
    last = asked(certificates, f"{name}:1", platform="amd64")
    assert {part.how for entry in last.repositories for part in (*entry.blobs, *entry.manifests)} == {"present"}
    assert last.repositories[0].exists is True


def test_single_blobs_that_are_missing_are_named(real: RunningRegistry, certificates: Certificates) -> None:
    name = f"{real.authority}/parts/app"
    pushed(certificates, f"{name}:arm", platform="arm64")
    image = resolve(open_artifact(Path(".buildopt/image")))
    arm = {blob.digest for blob in image.platforms[1].manifest.blobs}
    (found,) = asked(certificates, f"{name}:1").repositories
    assert {part.descriptor.digest: part.how for part in found.blobs} == {
        blob.digest: "present" if blob.digest in arm else "sent" for blob in image.blobs
    }
    sizes = [part.descriptor.size for part in found.blobs]
    assert sizes == sorted(sizes, reverse=True)
    how = {part.descriptor.digest: part.how for part in found.manifests}
    assert how.pop(image.platforms[1].descriptor.digest) == "present"
    assert set(how.values()) == {"sent"} and image.digest in how


def test_neighbours_hand_on_what_they_have_or_will_get(real: RunningRegistry, certificates: Certificates) -> None:
    one, two, three = (f"{real.authority}/mount/{name}" for name in ("one", "two", "three"))
    pushed(certificates, f"{two}:arm", platform="arm64")
    image = resolve(open_artifact(Path(".buildopt/image")))
    arm = {blob.digest for blob in image.platforms[1].manifest.blobs}
    found = asked(certificates, f"{one}:1", f"{two}:1", f"{three}:1")
    sources = [
        {part.descriptor.digest: (part.how, part.source) for part in entry.blobs} for entry in found.repositories
    ]
    for blob in image.blobs:
        there = blob.digest in arm
        assert sources[0][blob.digest] == (("mounted", two) if there else ("sent", ""))
        assert sources[1][blob.digest] == (("present", "") if there else ("mounted", one))
        assert sources[2][blob.digest] == ("mounted", two if there else one)
    report = pushed(certificates, f"{one}:1", f"{two}:1", f"{three}:1")
    assert report.ok
    # Which of several repositories gets a blob first is chance; what is sent in all is not.
    assert sum(outcome.bytes_present for outcome in report.outcomes) == sum(
        outcome.bytes_present for outcome in found.report.outcomes
    )


def signed(folder: Path, running: RunningRegistry, password: str, user: str = "me") -> None:
    (folder / ".docker").mkdir(exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / ".docker/config.json").write_text(json.dumps({"auths": {running.authority: {"auth": auth}}}))


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize(
    ("password", "kind", "code"), [("wrong", "credentials", 6), ("", "credentials", 6), (PASSWORD, "", 0)]
)
def test_credentials_are_tried(
    folder: Path, closed: RunningRegistry, capsys: pytest.CaptureFixture[str], password: str, kind: str, code: int
) -> None:
    if password:
        signed(folder, closed, password)
    assert main(["push", f"{closed.authority}/app:1", "--dry-run", "--format", "json"]) == code
    (destination,) = document(capsys)["destinations"]
    assert ((destination["error"] or {"kind": ""})["kind"], destination["ok"]) == (kind, not kind)
    assert not kind or destination["error"]["hint"]


@pytest.mark.parametrize(("user", "kind", "code"), [("reader", "permission", 4), ("", "credentials", 6), ("me", "", 0)])
def test_a_token_tells_who_may_write(
    folder: Path, tokens: RunningRegistry, capsys: pytest.CaptureFixture[str], user: str, kind: str, code: int
) -> None:
    words = ["push", f"{tokens.authority}/by/{user or 'nobody'}:1", "--format", "json"]
    if user:
        signed(folder, tokens, PASSWORD, user)
    assert main([*words, "--dry-run"]) == code
    told = document(capsys)["destinations"][0]
    since = len(tokens.log.read_bytes())
    assert main(words) == code
    done = document(capsys)["destinations"][0]
    assert ("POST" in methods(tokens, since)) is True  # the push tried
    assert (told["ok"], told["error"] and told["error"]["kind"]) == (
        done["ok"],
        done["error"] and done["error"]["kind"],
    )
    assert (told["error"] or {"kind": ""})["kind"] == kind


def test_a_reader_may_push_what_is_there_already(
    folder: Path, tokens: RunningRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["push", f"{tokens.authority}/there/app:1", "-q"]
    signed(folder, tokens, PASSWORD)
    assert main(words) == 0
    signed(folder, tokens, PASSWORD, "reader")
    assert main([*words, "--dry-run"]) == main(words) == 0
    assert main([*words[:2], f"{tokens.authority}/there/app:2", "--dry-run"]) == 4
    assert "does not allow a push to there/app" in capsys.readouterr().err


def bearer(claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"Bearer e30.{part}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        (bearer({"access": [{"type": "repository", "name": "acme/app", "actions": ["pull", "push"]}]}), True),
        (bearer({"access": [{"Type": "repository", "Name": "acme/app", "Actions": ["*"]}]}), True),
        (bearer({"access": [{"type": "repository", "name": "acme/app", "actions": ["pull"]}]}), False),
        (bearer({"access": []}), False),
        (bearer({"access": [{"type": "repository", "name": "acme/other", "actions": ["push"]}]}), None),
        (bearer({"access": None}), None),
        (bearer({"sub": "me"}), None),
        (bearer(["access"]), None),
        ("Bearer bm8.dG9rZW4.x", None),
        ("Bearer ghs_opaque", None),
        ("Basic bWU6eA==", None),
        ("", None),
    ],
)
def test_only_tokens_that_list_what_they_allow_tell(authorization: str, allowed: bool | None) -> None:
    assert may_push(authorization, "acme/app") is allowed


def test_one_that_refuses_spares_the_other_and_the_code_is_that_of_a_push(
    real: RunningRegistry, closed: RunningRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, gone = f"{real.authority}/spare/app:1", f"{closed.authority}/app:1", "127.0.0.1:1/app:1"
    for words in ([good, bad], [good, "--optional", bad, "--optional", gone], [bad, gone], [bad]):
        code = main(["push", *words, "--dry-run", "--format", "json"])
        told = document(capsys)
        assert main(["push", *words, "--format", "json"]) == code
        done = document(capsys)
        assert (told["dry_run"], told["ok"]) == (True, done["ok"])
        for one, other in zip(told["destinations"], done["destinations"], strict=True):
            assert (one["ok"], (one["error"] or {}).get("kind")) == (other["ok"], (other["error"] or {}).get("kind"))


def test_the_json_is_a_report_with_more(
    real: RunningRegistry, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = f"{real.authority}/json/app:1"
    assert main(["push", reference, "--dry-run", "--format", "json", "--report", "plan.json"]) == 0
    found = document(capsys)
    assert json.loads((folder / "plan.json").read_text()) == found
    image = resolve(open_artifact(Path(".buildopt/image")))
    assert (found["version"], found["digest"], found["ok"], found["dry_run"]) == (1, str(image.digest), True, True)
    (destination,) = found["destinations"]
    keys = "reference digest ok optional error bytes_sent bytes_mounted bytes_present seconds"
    assert set(keys.split()) <= set(destination)
    assert (destination["reference"], destination["bytes_sent"]) == (reference, image.size)
    assert (destination["tag"], destination["was"]) == ("new", None)
    (repository,) = found["repositories"]
    assert repository["repository"] == f"{real.authority}/json/app" and repository["exists"] is False
    assert {(part["digest"], part["size"], part["how"]) for part in repository["blobs"]} == {
        (str(blob.digest), blob.size, "sent") for blob in image.blobs
    }
    assert repository["manifests"][-1] == {"digest": str(image.digest), "size": image.descriptor.size, "how": "sent"}


def test_the_text_says_it_for_people(real: RunningRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{real.authority}/text/app"
    assert main(["push", f"{name}:1", "--platform", "amd64", "-q"]) == 0
    image = resolve(open_artifact(Path(".buildopt/image")))
    old = str(image.platforms[0].descriptor.digest)[:19]
    capsys.readouterr()
    words = [f"{name}:1", f"{name}:2", f"{real.authority}/text/new:1", "--optional", "127.0.0.1:1/x:1"]
    assert main(["push", *words, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"digest {image.digest}\n" in out
    assert re.search(rf"→  {name}:1 +moves from {old} +5\d\.\d kB +- +\d+\.\d kB\n", out)
    assert re.search(rf"→  {name}:2 +new ", out)
    assert re.search(r"–  127\.0\.0\.1:1/x:1 +unreachable ", out) and "hint: check the address" in out
    assert f"{real.authority}/text/new (does not exist yet: the first push makes it)" in out
    assert "  8 blobs: 5 to send, 3 already there\n" in out
    assert re.search(r"    mount  sha256:[0-9a-f]{12}  layer +\d+\.\d kB  from text/app\n", out)
    assert out.endswith("dry run: nothing was sent\n")


def test_of_many_blobs_the_largest_are_listed(real: RunningRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("many")
    image = artifacts.put_image(folder, "linux/amd64", [b"%d" % number * (number + 1) for number in range(40)])
    artifacts.finish(folder, [image])
    words = ["push", f"{real.authority}/many/app:1", "--from-oci", "many", "--dry-run"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.count("    send  sha256:") == 10 + 1 and "… and 31 more, " in out
    assert main([*words, "--verbose"]) == 0
    assert capsys.readouterr().out.count("    send  sha256:") == 41 + 1


def test_a_damaged_artifact_is_found_before_anybody_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_registry() as registry:
        path = max(Path(".buildopt/image/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
        path.write_bytes(b"short")
        assert main(["push", f"{registry.host}/app:1", "--dry-run"]) == 5
        assert main(["push", f"{registry.host}/app@sha256:{'0' * 64}", "--dry-run"]) in (2, 5)
        assert not registry.seen


def test_a_registry_that_fails_for_a_moment_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def fault(handler: Handler) -> bool:
        if handler.command != "HEAD" or len(seen) > 2:
            return False
        seen.append(handler.path)
        return handler.answer(503)

    with scripted_registry() as registry:
        registry.fault = fault
        assert main(["push", f"{registry.host}/app:1", "--dry-run"]) == 0
        assert "again in" in capsys.readouterr().err
        assert len(seen) == 3


def test_a_registry_that_always_fails_is_not_asked_for_everything(capsys: pytest.CaptureFixture[str]) -> None:
    def fault(handler: Handler) -> bool:
        return "/app/" in handler.path and handler.answer(501)

    def count(registry: Scripted) -> int:
        return sum("/app/" in entry.path for entry in registry.seen)

    folder = Path("many")
    image = artifacts.put_image(folder, "linux/amd64", [b"%d" % number for number in range(200)])
    artifacts.finish(folder, [image])
    with scripted_registry() as registry:
        registry.fault = fault
        assert main(["push", f"{registry.host}/app:1", "--dry-run", "--from-oci", "many"]) == 4
        assert count(registry) < 100
        assert "status 501" in capsys.readouterr().err
