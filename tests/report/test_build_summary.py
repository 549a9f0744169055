"""A build in the summary of a CI job."""

from __future__ import annotations

from buildopt.build.progress import Step
from buildopt.report.build_summary import Row, build_summary, failure_summary

DIGEST = f"sha256:{'a' * 64}"


def step(number: int, platform: str, seconds: float = 0.0, *, cached: bool = False) -> Step:
    return Step(
        f"{platform}{number}", "", f"RUN {number}", platform, "", number, 9, 0.5, 0.5 + seconds, cached
    )  # fmt: skip


def test_each_platform_has_its_share_and_its_time() -> None:
    rows = [Row("linux/amd64", DIGEST, 2_000_000), Row("linux/arm64", DIGEST, 3_000_000)]
    steps = [
        step(1, "linux/amd64", cached=True),
        step(2, "linux/amd64", 1.5),
        step(1, "linux/arm64", 2.0),
        step(2, "linux/arm64", 4.0),
    ]
    text = build_summary(DIGEST, rows, steps, 7.25)
    assert f"`{DIGEST}` in 7.2 s, 1 of 4 steps cached" in text
    assert "| linux/amd64 | `sha256:aaaaaaaaaaaa…` | 2.0 MB | 1 of 2 | 1.5 s |" in text
    assert "| linux/arm64 | `sha256:aaaaaaaaaaaa…` | 3.0 MB | 0 of 2 | 6.0 s |" in text


def test_steps_without_a_platform_are_those_of_the_only_one() -> None:
    text = build_summary(DIGEST, [Row("linux/amd64", DIGEST, 1)], [step(1, "", 1.0)], 1)
    assert "| 0 of 1 | 1.0 s |" in text


def test_an_image_without_steps() -> None:
    assert "0 of 0 steps cached" in build_summary(DIGEST, [Row("linux/amd64", DIGEST, 1)], [], 1)


def test_a_failure_shows_what_the_step_wrote_and_cannot_end_its_block() -> None:
    text = failure_summary("Dockerfile:5: RUN <b>x</b> failed", ["one", "```", "## two"], "a hint")
    assert "**Failed:**" in text and "<b>" not in text
    assert "````\none\n```\n## two\n````" in text and "a hint" not in text
    assert "a hint" in failure_summary("no engine", [], "a hint")
