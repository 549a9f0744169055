"""Each pair of dockerfiles/ is built before and after, and both images are the same and work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pairs import PAIRS, Pair

from buildopt.engine.connection import Engine
from buildopt.prove.proving import prove
from buildopt.prove.smoke import SmokeOptions

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    "pair", [pytest.param(pair, id=pair.name, marks=[] if pair.quick else pytest.mark.slow) for pair in PAIRS]
)
def test_both_images_are_equal_and_work(
    pair: Pair, engine: Engine, base_image: Callable[[str], Path], tmp_path: Path
) -> None:
    for name in pair.images():
        base_image(name)
    result = pair.rewrite()
    proof = prove(
        pair.before,
        result.source,
        pair.context,
        engine,
        files=result.files,
        smoke=SmokeOptions((pair.smoke,)),
        scenarios=(),
        folder=tmp_path,
    )
    assert proof.reasons == ()
    assert proof.equal
    for run in proof.smoke:
        assert run.before.status == 0, run.before.stderr
        assert run.before.stdout.strip() and not run.unstable
