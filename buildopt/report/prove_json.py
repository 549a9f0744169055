"""A proof for programs.

The document, ``"version": 1``, whose sizes are in bytes and whose times are in seconds::

    {"version": 1, "path", "equal": bool, "split": bool, "reasons": [text…], "notes": [text…],
     "built_again": bool,                     whether the original was built twice, to see what is never the same
     "images": [{"platform", "split",
                 "before": {"compressed", "unpacked", "layers", "files"}, "after": {…},
                 "ratio": {"compressed", "unpacked"},                                       null where before is 0
                 "kept", "programs",
                 "settings": [{"name", "before", "after"}],
                 "files": [{"path", "what", "detail"}],
                 "libraries": [{"path", "needs", "detail"}],
                 "excluded": [{"name", "why", "count", "examples": [text…]}],
                 "left_behind": [{"folder", "files", "bytes"}]}],
     "smoke": [{"platform", "command", "equal", "unstable",
                "before": {"status", "stdout", "stderr"}, "after": {…}}],                   status null: no end in time
     "timings": [{"scenario", "label", "before", "after", "ratio",                          seconds
                  "before_steps": {"total", "cached"}, "after_steps": {…}}]}
"""

from __future__ import annotations

import json

from buildopt.prove.proof import ImageDiff, Outcome, Proof, Sizes, Smoke, ratio


def proof_json(proof: Proof) -> str:
    """The document of this module's docstring."""
    return json.dumps({"version": 1, **proof_document(proof)}, indent=2, ensure_ascii=False) + "\n"


def proof_document(proof: Proof) -> dict[str, object]:
    """The same without its version, to be part of another document."""
    return {
        "path": _plain(proof.path),
        "equal": proof.equal,
        "split": proof.split,
        "reasons": [_plain(reason) for reason in proof.reasons],
        "notes": list(proof.notes),
        "built_again": proof.again,
        "images": [_image(image) for image in proof.images],
        "smoke": [_smoke(run) for run in proof.smoke],
        "timings": [
            {
                "scenario": timing.scenario,
                "label": _plain(timing.label),
                "before": round(timing.before, 3),
                "after": round(timing.after, 3),
                "ratio": _rounded(timing.ratio),
                "before_steps": _steps(timing.before_steps),
                "after_steps": _steps(timing.after_steps),
            }
            for timing in proof.timings
        ],
    }


def _image(image: ImageDiff) -> dict[str, object]:
    before, after = image.before, image.after
    return {
        "platform": image.platform,
        "split": image.split,
        "before": _sizes(before),
        "after": _sizes(after),
        "ratio": {
            "compressed": _rounded(ratio(before.compressed, after.compressed)),
            "unpacked": _rounded(ratio(before.unpacked, after.unpacked)),
        },
        "kept": image.kept,
        "programs": image.programs,
        "settings": [
            {"name": _plain(item.name), "before": _known(item.before), "after": _known(item.after)}
            for item in image.settings
        ],
        "files": [
            {"path": _plain(item.path), "what": item.what, "detail": _plain(item.detail)} for item in image.files
        ],
        "libraries": [
            {"path": _plain(item.path), "needs": _plain(item.needs), "detail": _plain(item.detail)}
            for item in image.libraries
        ],
        "excluded": [
            {
                "name": item.name,
                "why": item.why,
                "count": item.count,
                "examples": [_plain(name) for name in item.examples],
            }
            for item in image.excluded
        ],
        "left_behind": [
            {"folder": _plain(item.folder), "files": item.files, "bytes": item.size} for item in image.left_behind
        ],
    }


def _sizes(sizes: Sizes) -> dict[str, int]:
    return {
        "compressed": sizes.compressed,
        "unpacked": sizes.unpacked,
        "layers": sizes.layers,
        "files": sizes.files,
    }


def _smoke(run: Smoke) -> dict[str, object]:
    return {
        "platform": run.platform,
        "command": _plain(run.command),
        "equal": run.equal,
        "unstable": run.unstable,
        "before": _outcome(run.before),
        "after": _outcome(run.after),
    }


def _outcome(outcome: Outcome) -> dict[str, object]:
    return {"status": outcome.status, "stdout": outcome.stdout, "stderr": outcome.stderr}


def _steps(steps: tuple[int, int]) -> dict[str, int]:
    cached, total = steps
    return {"total": total, "cached": cached}


def _plain(text: str) -> str:
    """A text that JSON can hold: paths may have bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _known(text: str | None) -> str | None:
    return None if text is None else _plain(text)


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 4)
