"""A proof as text, Markdown and JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from buildopt.prove.proof import (
    Excluded,
    FileDifference,
    ImageDiff,
    LeftBehind,
    MissingLibrary,
    Outcome,
    Proof,
    SettingDifference,
    Sizes,
    Smoke,
    Timing,
)
from buildopt.report.prove import proof_text
from buildopt.report.prove_json import proof_json
from buildopt.report.prove_markdown import fenced, proof_markdown

EQUAL = Proof(
    "Dockerfile",
    (
        ImageDiff(
            "linux/amd64", True,
            Sizes(700_000_000, 750_000_000, 6, 13485), Sizes(70_000_000, 75_000_000, 3, 3169), 1, 1,
            excluded=(Excluded("logs", "written anew by each build", 2, ("/var/log/a", "/var/log/b")),),
            left_behind=(LeftBehind("/usr/local/go", 4525, 271_685_768),),
        ),
    ),
    (Smoke("linux/amd64", "app --version", Outcome(0, "1\n", ""), Outcome(0, "1\n", "")),),
    (Timing("cold", "cold build", 20.0, 10.0, (0, 3), (0, 5)), Timing("source", "source changed (main.go)", 10.0, 0.5)),
    ("a remark",),
)  # fmt: skip
HOSTILE = "/a|b`c`<img src=x>@all\x1b[31m\udcff"
DIFFERENT = replace(
    EQUAL,
    images=(
        replace(
            EQUAL.images[0],
            settings=(SettingDifference("ENV A", "1", None),),
            files=(FileDifference(HOSTILE, "lost"), FileDifference("/b", "mode", "was 0755, is 0644")),
            libraries=(MissingLibrary("/app", "libx.so", ""),),
            excluded=(Excluded("logs", "why", 1, (HOSTILE,)),),
        ),
    ),
    smoke=(Smoke("linux/amd64", "app", Outcome(0, "one\n", ""), Outcome(0, "two\n", "")),),
)


def test_text_of_an_equal_image() -> None:
    assert proof_text(EQUAL) == (
        "                            before    after  ratio\n"
        "image                     750.0 MB  75.0 MB   0.10\n"
        "image, compressed         700.0 MB  70.0 MB   0.10\n"
        "files                        13485     3169   0.24\n"
        "cold build                  20.0 s   10.0 s   0.50\n"
        "source changed (main.go)    10.0 s   0.50 s   0.05\n"
        "\n"
        "left behind    files      size\n"
        "/usr/local/go   4525  271.7 MB\n"
        "\n"
        "not compared  count  why                         such as\n"
        "logs              2  written anew by each build  /var/log/a, /var/log/b\n"
        "\n"
        "smoke same: app --version (exit status 0)\n"
        "note: a remark\n"
        "Dockerfile: equal: 1 kept file as before, 1 program with all its libraries, "
        "1 smoke run with the same outcome\n"
    )


def test_text_of_a_different_image() -> None:
    shown = proof_text(DIFFERENT, width=80)
    assert shown.endswith("Dockerfile: not equal: 5 differences\n")
    for line in (
        "different: ENV A is lost: 1",
        "different: /b: mode (was 0755, is 0644)",
        "different: /app needs libx.so, which is not found",
        "different: smoke app: standard output differs",
        "  -one",
        "  +two",
    ):
        assert f"\n{line}\n" in shown
    assert "\x1b" not in shown
    assert "\udcff" not in shown


def test_text_in_colour() -> None:
    assert "\x1b[1;32mDockerfile: equal" in proof_text(EQUAL, color=True)
    assert "\x1b[31mdifferent" in proof_text(DIFFERENT, color=True)


def test_markdown_cannot_be_left() -> None:
    shown = proof_markdown(DIFFERENT)
    assert shown.startswith("❌ `Dockerfile`: not equal: 5 differences\n")
    assert "<img" not in shown.replace("&lt;img", "").replace("`<img", "")
    assert "@all" not in shown.replace("@<!-- -->all", "")
    assert "\x1b" not in shown
    rows = [line for line in shown.splitlines() if line.startswith("| logs")]
    assert rows == ["| logs | 1 | why | /a&#124;b\\`c\\`&lt;img src=x&gt;@<!-- -->all�\\[31m� |"]
    assert "| source changed (main.go) | 10.0 s | 0.50 s | 0.05 |" in shown
    assert "| `app` | 0 | 0 | **differs** |" in shown


def test_markdown_of_an_equal_image() -> None:
    shown = proof_markdown(EQUAL)
    assert shown.startswith("✅ `Dockerfile`: equal: 1 kept file as before")
    assert "<details><summary>Left behind</summary>" in shown
    assert "<details><summary>Not compared</summary>" in shown


def test_json_of_a_different_image() -> None:
    document = json.loads(proof_json(DIFFERENT))
    assert (document["version"], document["equal"], document["split"]) == (1, False, True)
    assert len(document["reasons"]) == 5
    (image,) = document["images"]
    assert image["before"] == {"compressed": 700_000_000, "unpacked": 750_000_000, "layers": 6, "files": 13485}
    assert image["ratio"] == {"compressed": 0.1, "unpacked": 0.1}
    assert image["settings"] == [{"name": "ENV A", "before": "1", "after": None}]
    assert image["files"][1] == {"path": "/b", "what": "mode", "detail": "was 0755, is 0644"}
    assert image["left_behind"] == [{"folder": "/usr/local/go", "files": 4525, "bytes": 271_685_768}]
    assert document["smoke"][0]["before"] == {"status": 0, "stdout": "one\n", "stderr": ""}
    assert document["timings"][0] == {
        "scenario": "cold", "label": "cold build", "before": 20.0, "after": 10.0, "ratio": 0.5,
        "before_steps": {"total": 3, "cached": 0}, "after_steps": {"total": 5, "cached": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "unstable", "equal"),
    [
        (Outcome(0, "a", ""), Outcome(0, "a", ""), False, True),
        (Outcome(3, "a", ""), Outcome(3, "a", ""), False, True),
        (Outcome(0, "a", ""), Outcome(1, "a", ""), False, False),
        (Outcome(0, "a", ""), Outcome(0, "b", ""), False, False),
        (Outcome(0, "a", ""), Outcome(0, "a", "x"), False, False),
        (Outcome(0, "a", ""), Outcome(0, "b", ""), True, True),
        (Outcome(0, "a", ""), Outcome(1, "b", ""), True, False),
        (Outcome(None, "", ""), Outcome(None, "", ""), False, False),
        (Outcome(0, "", ""), Outcome(None, "", ""), False, False),
    ],
)
def test_the_outcome_of_a_smoke_command(before: Outcome, after: Outcome, unstable: bool, equal: bool) -> None:
    run = Smoke("linux/amd64", "x", before, after, unstable)
    assert run.equal is equal
    assert replace(EQUAL, smoke=(run,)).equal is equal
    assert (replace(EQUAL, smoke=(run,)).reasons == ()) is equal


@pytest.mark.parametrize(
    "part",
    [
        {"settings": (SettingDifference("USER", "a", "b"),)},
        {"files": (FileDifference("/a", "lost"),)},
        {"libraries": (MissingLibrary("/a", "b"),)},
    ],
)
def test_any_difference_speaks_against_it(part: dict[str, object]) -> None:
    proof = replace(EQUAL, images=(EQUAL.images[0], replace(EQUAL.images[0], **part)))  # type: ignore[arg-type]
    assert not proof.equal
    assert len(proof.reasons) == 1


def test_nothing_compared_is_no_proof() -> None:
    assert not replace(EQUAL, images=()).equal


def test_a_fence_that_nothing_ends() -> None:
    assert fenced("```\na\n````", "diff") == "`````diff\n```\na\n````\n`````\n"
