"""What a container is started with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from image_samples import Member, image, layer

from buildopt.prove.config import compare_settings
from buildopt.prove.image import Image

Settings = dict[str, object]


@pytest.fixture
def sample(tmp_path: Path) -> Image:
    return image(tmp_path / "i", layer(Member("a")))


def told(sample: Image, before: Settings, after: Settings, bases: tuple[Settings, Settings] = ({}, {})) -> list[str]:
    old = replace(sample, settings=before, base_settings=bases[0])
    new = replace(sample, settings=after, base_settings=bases[1])
    return [str(item) for item in compare_settings(old, new)[0]]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ({"User": "app"}, {}, "USER is lost: app"),
        ({"User": "app"}, {"User": "1000"}, "USER was app, is 1000"),
        ({"WorkingDir": "/app"}, {"WorkingDir": "/"}, "WORKDIR was /app, is /"),
        ({"Entrypoint": ["a", "b"]}, {"Entrypoint": ["a b"]}, 'ENTRYPOINT was ["a", "b"], is ["a b"]'),
        ({"Cmd": ["x"]}, {}, 'CMD is lost: ["x"]'),
        ({"Healthcheck": {"Test": ["CMD", "a"]}}, {}, 'HEALTHCHECK is lost: {"Test": ["CMD", "a"]}'),
        ({"StopSignal": "SIGQUIT"}, {}, "STOPSIGNAL is lost: SIGQUIT"),
        ({"Shell": ["/bin/bash", "-c"]}, {}, 'SHELL is lost: ["/bin/bash", "-c"]'),
        ({}, {"OnBuild": ["RUN x"]}, 'ONBUILD is new: ["RUN x"]'),
        ({"ExposedPorts": {"80/tcp": {}}}, {"ExposedPorts": {"81/tcp": {}}}, "EXPOSE is lost: 80/tcp"),
        ({"Volumes": {"/data": {}}}, {}, "VOLUME is lost: /data"),
        ({}, {"Volumes": {"/data": {}}}, "VOLUME is new: /data"),
        ({"Env": ["A=1"]}, {"Env": ["A=2"]}, "ENV A was 1, is 2"),
        ({"Env": ["A=1", "B=2"]}, {"Env": ["A=1"]}, "ENV B is lost: 2"),
        ({"Labels": {"x": "y"}}, {"Labels": {"x": "z"}}, "LABEL x was y, is z"),
    ],
)
def test_each_setting_counts(sample: Image, before: Settings, after: Settings, line: str) -> None:
    assert line in told(sample, before, after)
    assert told(sample, before, before) == told(sample, after, after) == []


def test_what_means_the_same_is_equal(sample: Image) -> None:
    assert told(sample, {"User": "root", "Env": ["A=1", "B=2"]}, {"User": "0", "Env": ["B=2", "A=1"]}) == []
    assert told(sample, {"WorkingDir": "/", "Cmd": None}, {"WorkingDir": "", "Cmd": []}) == []


def test_environment_of_another_base_image_is_excluded_and_told(sample: Image) -> None:
    old = {"Env": ["PATH=/go/bin:/bin", "GOPATH=/go"], "Labels": {"base": "go"}}
    new = {"Env": ["PATH=/bin"]}
    before = {"Env": ["PATH=/x:/go/bin:/bin", "GOPATH=/go", "A=1"], "Labels": {"base": "go"}}
    after = {"Env": ["PATH=/x:/bin", "A=1"]}
    differences, excluded = compare_settings(
        replace(sample, settings=before, base_settings=old), replace(sample, settings=after, base_settings=new)
    )
    assert differences == []
    assert {item.name: item.examples for item in excluded} == {
        "environment of the base image": ("GOPATH", "PATH"),
        "labels of the base image": ("base",),
    }


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("GOPATH=/own", None, "ENV GOPATH is lost: /own"),
        ("PATH=/x:/go/bin:/bin", "PATH=/bin", "ENV PATH was /x:/go/bin:/bin, is /bin"),
        ("A=1", None, "ENV A is lost: 1"),
    ],
)
def test_what_the_file_itself_sets_counts_on_another_base_image(
    sample: Image, before: str, after: str | None, line: str
) -> None:
    bases: tuple[Settings, Settings] = ({"Env": ["PATH=/go/bin:/bin", "GOPATH=/go"]}, {"Env": ["PATH=/bin"]})
    assert line in told(sample, {"Env": [before]}, {"Env": [after] if after else []}, bases)


def test_a_command_of_another_base_image_counts(sample: Image) -> None:
    assert told(sample, {"Cmd": ["bash"]}, {"Cmd": ["python3"]}, ({"Cmd": ["bash"]}, {"Cmd": ["python3"]})) == [
        'CMD was ["bash"], is ["python3"]'
    ]


MAVEN, TEMURIN = "/usr/local/bin/mvn-entrypoint.sh", "/__cacert_entrypoint.sh"


@pytest.mark.parametrize(
    ("before", "after", "bases", "equal"),
    [
        ([MAVEN], [TEMURIN], ([MAVEN], [TEMURIN]), True),
        ([MAVEN], None, ([MAVEN], None), True),
        ([MAVEN], ["/start.sh"], ([MAVEN], ["/start.sh"]), False),
        (["/start.sh"], [TEMURIN], (["/start.sh"], [TEMURIN]), False),
        (["/own"], [TEMURIN], ([MAVEN], [TEMURIN]), False),
        ([MAVEN], ["/own"], ([MAVEN], [TEMURIN]), False),
        ([MAVEN, "x"], [TEMURIN], ([MAVEN, "x"], [TEMURIN]), False),
    ],
)
def test_entrypoints_of_base_images_that_only_start_the_command(
    sample: Image, before: object, after: object, bases: tuple[object, object], equal: bool
) -> None:
    given = ({"Entrypoint": bases[0]}, {"Entrypoint": bases[1]})
    differences = told(sample, {"Entrypoint": before, "Cmd": ["x"]}, {"Entrypoint": after, "Cmd": ["x"]}, given)
    assert (differences == []) == equal
