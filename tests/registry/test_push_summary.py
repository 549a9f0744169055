"""What people see of a push: the table, the job's summary, and the bars of a terminal."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import artifacts
import pytest
from rich.console import Console
from scripted import Handler, Scripted, scripted_registry

from buildopt.cli import main
from buildopt.oci.descriptor import Digest
from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import retry
from buildopt.registry.outcome import BlobDone, Done, Moved, Outcome, Problem, PushReport, Started
from buildopt.registry.plan import PushPlan, Target
from buildopt.report.push import report_text
from buildopt.report.push_live import PushView, shortened
from buildopt.report.push_summary import push_summary

DIGEST = f"sha256:{'a' * 64}"
APP, WEB = "ghcr.io/acme/app", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/web"


@pytest.fixture
def registry() -> Iterator[Scripted]:
    with scripted_registry() as scripted:
        yield scripted


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an artifact, and a job of Actions with a summary."""
    artifacts.make_layout(tmp_path / ".buildopt" / "image")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    return tmp_path


def report(*outcomes: Outcome) -> PushReport:
    return PushReport(DIGEST, outcomes)


GOOD = Outcome(f"{APP}:1.2.3", DIGEST, False, None, 12_345_678, 0, 616_700_000, 3.21)
MOUNTED = Outcome(f"{WEB}:feature-x", DIGEST, False, None, 4_300, 629_000_000, 0, 12.0)
REFUSED = Outcome(f"{WEB}:1", DIGEST, False, Problem("credentials", "it | refused <b>you</b>", "sign in: docker login"))
MISSED = Outcome("quay.io/acme/app:1", DIGEST, True, Problem("timeout", "no answer", ""))


def test_the_table_is_aligned_and_says_what_to_do() -> None:
    lines = report_text(report(GOOD, MOUNTED, REFUSED, MISSED)).splitlines()
    assert lines[0] == f"digest {DIGEST}"
    head, good, mounted, refused, message, hint, missed, last = lines[1:]
    ends = [head.index(word) + len(word) for word in ("sent", "mounted", "already there", "seconds")]
    for row, cells in ((good, ("12.3 MB", "-", "616.7 MB", "3.2")), (mounted, ("4.3 kB", "629.0 MB", "-", "12.0"))):
        for end, cell in zip(ends, cells, strict=True):
            assert row[:end].endswith(f" {cell}")
    assert good.startswith(f"pushed  {APP}:1.2.3 ") and refused.startswith(f"FAILED  {WEB}:1 ")
    assert (message, hint) == ("        it | refused <b>you</b>", "        hint: sign in: docker login")
    assert missed.startswith("missed  quay.io/acme/app:1 ") and last == "        no answer"


def test_at_80_columns_no_line_is_longer() -> None:
    lines = report_text(report(GOOD, MOUNTED, MISSED), width=80).splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert f"pushed  {WEB}:feature-x" in lines
    assert lines[lines.index(f"pushed  {WEB}:feature-x") + 1].split() == ["4.3", "kB", "629.0", "MB", "-", "12.0"]
    assert "\x1b" not in "".join(lines)
    assert "\x1b[32mpushed\x1b[0m" in report_text(report(GOOD), color=True)


def test_the_summary_has_a_row_a_destination_and_each_problem_once() -> None:
    again = Outcome(f"{WEB}:2", DIGEST, False, REFUSED.problem)
    lines = push_summary(report(GOOD, MOUNTED, REFUSED, again, MISSED)).splitlines()
    assert lines[:3] == ["### buildopt push", "", f"`{DIGEST}` at 2 of 5 destinations in 12.0 s"]
    assert f"| ✅ | `{APP}:1.2.3` | 12.3 MB | – | 616.7 MB | 3.2 |" in lines
    assert f"| ✅ | `{WEB}:feature-x` | 4.3 kB | 629.0 MB | – | 12.0 |" in lines
    assert f"| ❌ | `{WEB}:1` | – | – | – | 0.0 |" in lines
    assert "| ⚠️ | `quay.io/acme/app:1` | – | – | – | 0.0 |" in lines
    (refused,) = [line for line in lines if "refused" in line]
    assert refused.startswith(f"- `{WEB}:1`, `{WEB}:2`: **credentials**: it ") and "<b>" not in refused
    assert "  <br>What to do: sign in: docker login" in lines
    assert "- `quay.io/acme/app:1` (optional): **timeout**: no answer" in lines


def test_a_job_gets_a_summary_groups_and_annotations(
    registry: Scripted, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault(handler: Handler) -> bool:
        refusing = "/bad/" in handler.path
        return refusing and handler.error(403, "DENIED", "no ##[error] ::error::for you")

    registry.fault = fault
    (folder / "summary.md").write_text("from another step\n")
    words = [f"{registry.host}/acme/app:1", "--optional", f"{registry.host}/bad/app:1"]
    assert main(["push", *words]) == 0
    out, err = capsys.readouterr()
    summary = (folder / "summary.md").read_text()
    assert summary.startswith("from another step\n### buildopt push\n")
    assert f"| ✅ | `{registry.host}/acme/app:1` |" in summary
    assert f"| ⚠️ | `{registry.host}/bad/app:1` |" in summary and "What to do: " in summary
    digest = resolve(open_artifact(Path(".buildopt/image"))).digest
    assert f"`{digest}` at 1 of 2 destinations in " in summary
    lines = err.splitlines()
    assert "::group::buildopt push" in lines and "::endgroup::" in lines
    assert sum(line.startswith("::warning title=buildopt push::") for line in lines) == 1
    told = [line for line in (*out.splitlines(), *lines) if not line.startswith(("::warning", "::group", "::endgroup"))]
    assert not any("##[" in line or line.lstrip().startswith("::") for line in told)


def test_a_dry_run_has_a_summary_too(registry: Scripted, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{registry.host}/acme/app"
    assert main(["push", f"{name}:1", "--platform", "amd64"]) == 0
    (folder / "summary.md").unlink()
    assert main(["push", f"{name}:1", f"{name}:2", "--dry-run"]) == 0
    summary = (folder / "summary.md").read_text()
    assert summary.startswith("### buildopt push --dry-run\n") and "nothing was sent" in summary
    old = str(resolve(open_artifact(Path(".buildopt/image"))).platforms[0].descriptor.digest)[:19]
    assert f"moves from `{old}…` |" in summary and "| new |" in summary


def test_what_stops_a_push_before_it_starts_is_in_the_summary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", "127.0.0.1:1/app", "--tag", "{branch} x"]) == 2
    assert main(["push", "127.0.0.1:1/app:1", "--from-oci", "./none"]) == 5
    summary = (folder / "summary.md").read_text()
    assert summary.count("### buildopt push\n\n**Failed:** ") == 2
    assert "no artifact at none" in summary and "buildopt build-once" in summary


def test_no_secret_gets_into_the_summary(registry: Scripted, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".docker").mkdir()
    auth = base64.b64encode(b"me:hush-hush").decode()
    (folder / ".docker/config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    registry.fault = lambda handler: handler.error(401, "UNAUTHORIZED", "who?", WWW_Authenticate='Basic realm="x"')
    assert main(["push", f"{registry.host}/app:1", "--verbose"]) == 6
    assert main(["push", f"{registry.host}/app:1", "--verbose", "--dry-run"]) == 6
    assert any(entry.authorization == f"Basic {auth}" for entry in registry.seen)
    everything = (folder / "summary.md").read_text() + "".join(capsys.readouterr())
    assert "credentials" in everything
    assert "hush-hush" not in everything and auth not in everything


def test_without_a_summary_or_where_it_cannot_be_written_the_push_goes_on(
    registry: Scripted, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "nowhere" / "summary.md"))
    assert main(["push", f"{registry.host}/app:1"]) == 0
    assert "warning: no step summary: " in capsys.readouterr().err
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert main(["push", f"{registry.host}/app:1"]) == 0
    assert not list(folder.glob("*.md"))


class Clock:
    """A time that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def view(*names: str, layers: int = 3) -> tuple[PushView, Clock, list[tuple[Digest, int]]]:
    image = artifacts.put_image(Path("live"), "linux/amd64", [b"%03d" % number * 1000 for number in range(layers)])
    artifacts.finish(Path("live"), [image])
    source = open_artifact(Path("live"))
    found = resolve(source)
    targets = tuple(Target(Reference.parse(f"{name}:1")) for name in names)
    clock = Clock()
    blobs = sorted(((blob.digest, blob.size) for blob in found.blobs), key=lambda blob: (-blob[1], str(blob[0])))
    return PushView(PushPlan(source, found, targets), clock), clock, blobs


def texts(rows: list[tuple[str, str]]) -> list[str]:
    return [text for _, text in rows]


def test_bars_tell_rate_and_time_left_of_destinations_and_blobs() -> None:
    shown, clock, blobs = view(APP, layers=3)
    total = sum(size for _, size in blobs)
    (first, size), *_ = blobs
    assert texts(shown.lines(80, 24))[0].endswith("looking 0 s")
    shown.told(Started(APP, total))
    for _ in range(4):
        clock.now += 0.5
        shown.told(Moved(APP, size // 6, first))
    place, blob = texts(shown.lines(80, 24))
    assert place.startswith(APP) and "━" in place and "╌" in place
    assert f"{4 * (size // 6) / 1000:.1f} of {total / 1000:.1f} kB" in place and " 1.0 kB/s" in place
    assert place.endswith(f"0:{int((total - 4 * (size // 6)) / 1000) + 1:02}")
    assert blob.startswith(f"  {first.short} ") and blob.endswith(" 0:01") and "/s" in blob
    shown.told(BlobDone(APP, first, size, "sent"))
    for digest, count in blobs[1:]:  # what was there is nothing to wait for
        shown.told(BlobDone(APP, digest, count, "present"))
    (place,) = texts(shown.lines(80, 24))
    assert "of" not in place.split("━")[-1]
    shown.told(Done(Outcome(f"{APP}:1", DIGEST, False, None, total)))
    kind, place = shown.lines(80, 24)[0]
    assert kind == "done" and "pushed" in place


def test_what_is_sent_again_counts_once() -> None:
    shown, clock, blobs = view(APP)
    (first, size), *_ = blobs
    shown.told(Started(APP, size))
    clock.now += 1
    shown.told(Moved(APP, size, first))
    shown.told(Moved(APP, -size, first))
    clock.now += 1
    assert f" 0 B of {size / 1000:.1f} kB" in texts(shown.lines(80, 24))[0]


def test_many_blobs_and_destinations_fit_into_any_terminal() -> None:
    names = (APP, WEB, *(f"registry.example/number-{number}" for number in range(5)))
    shown, clock, blobs = view(*names, layers=40)
    for name in names:
        shown.told(Started(name, sum(size for _, size in blobs)))
        for digest, size in blobs:
            clock.now += 0.01
            shown.told(Moved(name, size // 2, digest))
    for width in (20, 40, 60, 72, 80, 100, 200):
        for height in (1, 2, 5, 8, 12, 24):
            rows = texts(shown.lines(width, height))
            assert 1 <= len(rows) <= height
            assert max(map(len, rows)) <= width
            assert ("… and " in rows[-1]) == (height < len(names))
            printed = io.StringIO()
            Console(file=printed, width=width).print(*rows, sep="\n", no_wrap=True, markup=False, highlight=False)
            assert len(printed.getvalue().splitlines()) == len(rows)
    rows = texts(shown.lines(80, 24))
    assert sum(row.startswith("  ") for row in rows) == 24 - len(names)
    assert any("/team/web " in row for row in rows) and any(" more, " in row for row in rows)


def test_those_that_go_on_come_before_those_that_are_done() -> None:
    shown, _, blobs = view(APP, WEB)
    shown.told(Started(APP, 1))
    shown.told(Started(WEB, sum(size for _, size in blobs)))
    shown.told(Done(Outcome(f"{APP}:1", DIGEST, False, Problem("server", "it failed", ""))))
    kinds = [kind for kind, _ in shown.lines(100, 24)]
    assert kinds == ["active", "failed"]


def test_a_long_name_keeps_its_end() -> None:
    assert shortened("ghcr.io/acme/app", 16) == "ghcr.io/acme/app"
    assert shortened(WEB, 13) == "…com/team/web"
