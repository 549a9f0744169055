"""Which step is made from which, and for which platform."""

from __future__ import annotations

from buildopt.build import graph
from buildopt.build.progress import Progress, Step

BOTH = ("linux/amd64", "linux/arm64")


def steps(**vertices: tuple[str, str]) -> list[Step]:
    """Vertices by id: name, ids of inputs."""
    progress = Progress()
    for identity, (name, inputs) in vertices.items():
        listed = ",".join(f'"{entry}"' for entry in inputs.split())
        progress.feed(f'{{"vertexes":[{{"digest":"{identity}","name":"{name}","inputs":[{listed}]}}]}}')
    return list(progress.steps.values())


def found(made: list[Step], platforms: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    nodes = graph.nodes(made, platforms)
    return {node.step.id: (tuple(nodes[need].step.id for need in node.needs), node.platforms) for node in nodes}


def test_what_lies_between_instructions_is_passed_over() -> None:
    digest = "sha256:" + "0" * 64
    made = steps(
        r=("[2/3] RUN x", "f"),
        f=(f"[1/3] FROM docker.io/library/debian:12@{digest}", ""),
        l=("[internal] load build context", ""),
        c=("[3/3] COPY a b", "r l"),
    )
    assert found(made, BOTH[:1]) == {"r": ((), BOTH[:1]), "c": (("r",), BOTH[:1])}
    assert graph.nodes(made, BOTH[:1])[0].bases == (f"docker.io/library/debian:12@{digest}",)
    assert graph.base_digests(made) == {"docker.io/library/debian:12": digest}


def test_steps_without_a_platform_belong_to_the_one_that_they_are_made_for() -> None:
    made = steps(
        c1=("[linux/amd64 build 1/2] COPY a b", ""),
        c2=("[linux/arm64 build 1/2] COPY a b", ""),
        r1=("[build 2/2] RUN x", "c1"),
        r2=("[build 2/2] RUN x", "c2"),
    )
    assert {name: row[1] for name, row in found(made, BOTH).items()} == {
        "c1": BOTH[:1],
        "r1": BOTH[:1],
        "c2": BOTH[1:],
        "r2": BOTH[1:],
    }


def test_a_step_of_the_build_platform_belongs_to_both() -> None:
    made = steps(
        shared=("[linux/amd64 build 1/2] COPY a b", ""),
        one=("[linux/amd64 build 2/2] RUN x", "shared"),
        two=("[linux/amd64->arm64 build 2/2] RUN x", "shared"),
        e1=("[linux/amd64 stage-1 1/1] COPY --from=build x y", "one"),
        e2=("[linux/arm64 stage-1 1/1] COPY --from=build x y", "two"),
    )
    platforms = {name: row[1] for name, row in found(made, BOTH).items()}
    assert platforms["shared"] == BOTH and platforms["one"] == BOTH[:1] and platforms["two"] == BOTH[1:]


def test_one_end_is_everybodys() -> None:
    made = steps(r=("[linux/amd64 build 1/1] RUN x", ""))
    assert found(made, BOTH)["r"][1] == BOTH


def test_two_ends_of_one_look_are_told_apart() -> None:
    made = steps(a=("[linux/amd64 1/1] COPY a b", ""), b=("[linux/amd64 1/1] COPY c d", ""))
    assert {row[1] for row in found(made, BOTH).values()} == {BOTH[:1], BOTH[1:]}


def test_steps_stand_behind_what_they_are_made_from_even_in_a_circle() -> None:
    made = steps(
        a=("[a 1/1] RUN x", "c"), b=("[b 1/1] RUN x", "a"), c=("[c 1/1] RUN x", "b d"), d=("[d 1/1] RUN x", "")
    )
    nodes = graph.nodes(made, ("linux/amd64",))
    assert sorted(node.step.id for node in nodes) == ["a", "b", "c", "d"]
    assert all(need < number for number, node in enumerate(nodes) for need in node.needs)


def test_a_long_chain_takes_no_recursion() -> None:
    count = 3000
    vertices = {f"v{number}": (f"[{number}/{count}] RUN x", f"v{number - 1}") for number in range(count, 0, -1)}
    nodes = graph.nodes(steps(**vertices), ("linux/amd64",))
    assert [node.step.number for node in nodes] == list(range(1, count + 1))
    assert all(need < number for number, node in enumerate(nodes) for need in node.needs)


def test_steps_of_another_build_are_left_out() -> None:
    made = steps(
        a=("[1/3] COPY a b", ""),
        b=("[2/3] RUN x", "a"),
        c=("[3/3] RUN y", "b"),
        other=("[1/3] COPY a b", ""),
        more=("[2/3] RUN x", "other"),
    )
    assert set(found(made, BOTH[:1])) == {"a", "b", "c"}
