"""Rules about what package managers ask, fetch and leave: what fixtures cannot show."""

from __future__ import annotations

import pytest

from buildopt.dockerfile.lint import fix, lint
from buildopt.settings import LintSettings
from buildopt.source import Source


def found(name: str, text: str, profile: str = "recommended") -> list[str]:
    settings = LintSettings(profile=profile, select=(name,))
    return [alias for finding in lint(Source("Dockerfile", text), settings) for alias in finding.aliases]


def fixed(name: str, text: str, *, unsafe: bool = False, profile: str = "recommended") -> str:
    settings = LintSettings(profile=profile, select=(name,))
    return fix(Source("Dockerfile", text), settings, unsafe=unsafe).source.text


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("missing-dnf-yes", 'FROM a\nRUN ["dnf", "install", "x"]\n', "an exec form"),
        ("missing-dnf-yes", 'FROM a\nRUN bash -c "dnf \\"install\\" x"\n', "quotes in quotes"),
        ("missing-zypper-non-interactive", 'FROM a\nRUN ["zypper", "in", "x"]\n', "an exec form"),
        ("dnf-cache-left-in-image", 'FROM a\nRUN ["dnf", "install", "-y", "x"]\n', "an exec form"),
        ("dnf-cache-left-in-image", "FROM a\nRUN dnf install -y x # why\n", "all behind # is comment"),
        ("dnf-cache-left-in-image", "FROM a\nRUN dnf install -y x &\n", "it runs in the background"),
        ("dnf-cache-left-in-image", "FROM a\nRUN dnf install -y x; exit 0\n", "nothing runs behind exit"),
        ("dnf-cache-left-in-image", "FROM a\nRUN if x; then dnf install -y x; fi\n", "dnf may not be there"),
        ("dnf-cache-left-in-image", "FROM a\nRUN apt install -y x || dnf install -y x\n", "dnf may not be there"),
        ("dnf-cache-left-in-image", "FROM a\nRUN sh -c 'dnf install -y x'\n", "in a shell of its own"),
        ("dnf-cache-left-in-image", "FROM a\nRUN dnf install -y x\nRUN dnf -C list\n", "it is read later"),
        ("dnf-cache-left-in-image", "FROM a\nRUN <<E\ndnf install -y x\nE\n", "it would hide a failure"),
        (
            "zypper-cache-left-in-image",
            "FROM a\nRUN zypper -n in x\nRUN zypper --no-refresh search y\n",
            "it is read later",
        ),
        ("zypper-cache-left-in-image", "FROM a AS b\nRUN zypper -n in x\nFROM b\nRUN zypper --no-refresh lr\n", "also"),
        ("apk-cache-left-in-image", "FROM a\nRUN apk update\n", "nothing would be left of the RUN"),
        ("apk-cache-left-in-image", "FROM a\nRUN apk update && echo\nRUN apk search x\n", "it is read later"),
        ("apk-cache-left-in-image", "FROM a\nRUN x || apk update && echo\n", "the chain would change"),
        ("apk-cache-left-in-image", "FROM a\nRUN apk update > log && echo\n", "its output is wanted"),
        ("apk-cache-left-in-image", "FROM a\nRUN apk update && \\\n# why\n echo\n", "a comment would go"),
        ("npm-cache-left-in-image", "FROM a\nRUN npm ci\nRUN ./build --offline\n", "it is read later"),
        ("npm-cache-left-in-image", "FROM a\nRUN su node -c 'npm ci'\n", "another user's cache"),
        ("yarn-cache-left-in-image", "FROM a\nRUN yarn\nRUN ./build --offline\n", "it is read later"),
    ],
)
def test_what_cannot_be_fixed_is_left(name: str, text: str, why: str) -> None:
    findings = lint(Source("Dockerfile", text), LintSettings(select=(name,)))
    assert findings and all(finding.fix is None for finding in findings), why
    assert fixed(name, text, unsafe=True) == text


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (
            "dnf-cache-left-in-image",
            "FROM a\nONBUILD RUN dnf install -y x\n",
            "ONBUILD RUN dnf install -y x && dnf clean all\n",
        ),
        ("dnf-cache-left-in-image", "# escape=`\nFROM a\nRUN dnf install -y `\n  x\n", "  x `\n  && dnf clean all\n"),
        ("missing-dnf-yes", "FROM a\nONBUILD RUN dnf install x\n", "ONBUILD RUN dnf install -y x\n"),
        ("missing-dnf-yes", "FROM a\nRUN sh -c 'dnf install x'\n", "RUN sh -c 'dnf install -y x'\n"),
        ("missing-zypper-non-interactive", "# escape=`\nFROM a\nRUN zypper `\n in x\n", "RUN zypper -n `\n in x\n"),
        (
            "apk-cache-left-in-image",
            "FROM a\nRUN apk update && apk add x\nRUN apk add y\n",
            "RUN apk add --no-cache y\n",
        ),
    ],
)
def test_fixes(name: str, before: str, after: str) -> None:
    assert fixed(name, before).endswith(after)


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("missing-dnf-yes", "RUN echo assumeyes=1 >> /etc/yum.conf && yum install x", 0),
        ("missing-dnf-yes", "RUN echo defaultyes=True >> /etc/dnf/dnf.conf\nRUN dnf install x", 0),
        ("missing-dnf-yes", "RUN dnf --assumeyes install x && dnf install y", 1),
        ("missing-dnf-yes", "RUN dnf --setopt=assumeyes=1 install x && dnf install y", 1),
        ("dnf-cache-left-in-image", "RUN dnf install -y x && rm -rf /var/{cache,log}/*", 0),
        ("dnf-cache-left-in-image", "RUN dnf install -y x && rm -rf {/var/cache/dnf,/tmp}/*", 0),
        ("dnf-cache-left-in-image", "RUN dnf install -y x && cd /var/cache && rm -rf /var/log/*", 1),
        ("zypper-cache-left-in-image", "RUN zypper -n in x && rm -rf /var/{log,cache}/*", 0),
        ("apk-cache-left-in-image", "RUN apk -U add x && rm -rf /var/{cache/apk,log}/*", 0),
        ("npm-cache-left-in-image", "RUN npm ci && rm -rf /root/.n* /root/.cache", 0),
        ("npm-cache-left-in-image", "RUN npm ci && rm -rf /root/.cache", 1),
        ("npm-cache-left-in-image", "RUN npm ci && npm cache verify", 1),
        ("unpinned-go-tool", "RUN go mod init x && go get example.com/y/z", 0),
        ("unpinned-go-tool", "RUN --mount=type=bind,target=. go get example.com/y/z", 0),
        ("unpinned-go-tool", "RUN go get -u example.com/y/z", 1),
    ],
)
def test_near_misses(name: str, text: str, count: int) -> None:
    settings = LintSettings(select=(name,))
    assert len(lint(Source("Dockerfile", f"FROM a\n{text}\n"), settings)) == count


def test_an_update_goes_only_where_no_script_may_want_its_index() -> None:
    text = "FROM alpine\nRUN apk update && apk add x\nRUN ./setup.sh\n"
    assert fixed("apk-cache-left-in-image", text) == text
    wanted = "FROM alpine\nRUN apk add --no-cache x\nRUN ./setup.sh\n"
    assert fixed("apk-cache-left-in-image", text, unsafe=True) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "RUN corepack enable && yarn install",
        "COPY .yarnrc.yml .\nRUN yarn install",
        "RUN yarn install --immutable",
        "ENV YARN_CACHE_FOLDER=/tmp/yarn\nRUN yarn install",
        "RUN npm config set cache /tmp/npm && npm ci",
        "ENV NPM_CONFIG_CACHE=/tmp/npm\nRUN npm ci",
        "ARG npm_config_cache=/tmp/npm\nRUN npm ci",
        "RUN npm_config_cache=/tmp/npm npm ci",
        "RUN yarn $ACTION && npm $ACTION && npm --version && yarn -v",
    ],
)
def test_caches_elsewhere_and_newer_yarns_are_left_alone(text: str) -> None:
    for name in ("yarn-cache-left-in-image", "npm-cache-left-in-image"):
        settings = LintSettings(select=(name,))
        assert lint(Source("Dockerfile", f"FROM node:22\n{text}\n"), settings) == []


@pytest.mark.parametrize(
    ("name", "text", "theirs", "ours"),
    [
        # What hadolint does not see, or sees where nothing is wrong.
        ("dnf-cache-left-in-image", "RUN dnf install -y x && rm -rf /tmp/y", [], ["DL3040"]),
        ("dnf-cache-left-in-image", "RUN yum install -y x && rm -fr /var/cache/yum", ["DL3032"], []),
        ("dnf-cache-left-in-image", "RUN --mount=type=cache,target=/var/cache/dnf dnf install -y x", ["DL3040"], []),
        ("dnf-cache-left-in-image", "RUN dnf clean all; dnf install -y x; dnf clean all", ["DL3040"], []),
        ("zypper-cache-left-in-image", "RUN zypper -n in x && rm -rf /var/cache/zypp/*", ["DL3036"], []),
        ("apk-cache-left-in-image", "RUN apk add -U x && rm -rf /var/cache/apk/*", ["DL3019"], []),
        ("apk-cache-left-in-image", "RUN apk update", [], ["DL3019"]),
        ("yarn-cache-left-in-image", "RUN yarn install && rm -rf /root/.cache", ["DL3060"], []),
        ("yarn-cache-left-in-image", "RUN yarn", [], ["DL3060"]),
        ("missing-dnf-yes", "RUN yes | dnf install x", ["DL3038"], []),
        ("missing-dnf-yes", "RUN sudo yum update", [], ["DL3030"]),
        ("missing-zypper-non-interactive", "RUN zypper up", [], ["DL3034"]),
        ("zypper-dist-upgrade", "RUN zypper search dup", ["DL3035"], []),
        ("unpinned-go-tool", "COPY . .\nRUN go install example.com/x/y", ["DL3062"], []),
        ("unpinned-go-tool", "RUN go install cmd/go main.go", ["DL3062"], []),
        ("unpinned-go-tool", "RUN go install example.com/x@main", [], ["DL3062"]),
    ],
)
def test_hadolint_decides_otherwise(name: str, text: str, theirs: list[str], ours: list[str]) -> None:
    text = f"FROM a\n{text}\n"
    assert found(name, text, "hadolint") == theirs
    assert found(name, text) == ours


@pytest.mark.parametrize(
    ("stages", "fires"),
    [
        ("FROM a AS b\nRUN yarn install\nFROM c\n", False),
        ("FROM a AS b\nRUN yarn install\nFROM b AS d\nFROM e\n", True),
        ("FROM a AS B\nRUN yarn install\nFROM b\n", False),
        ("FROM a:1 AS b\nRUN yarn install\nFROM b:latest\n", True),
        ("FROM a\nRUN yarn install\nFROM a\n", True),
        ("FROM a AS b\nONBUILD RUN yarn install\nFROM c\n", True),
    ],
)
def test_stages_that_hadolint_looks_at(stages: str, fires: bool) -> None:
    assert bool(found("yarn-cache-left-in-image", stages, "hadolint")) is fires


@pytest.mark.parametrize(
    "name",
    ["dnf-cache-left-in-image", "zypper-cache-left-in-image", "yarn-cache-left-in-image", "apk-cache-left-in-image"],
)
def test_fixes_end_in_hadolints_profile_too(name: str) -> None:
    """Some of its findings stay whatever is appended: that must not go on and on."""
    tool = name.split("-")[0]
    lines = {
        "dnf": "dnf clean all && dnf install -y x",
        "zypper": "zypper clean && zypper -n in x",
        "yarn": "yarn cache clean && yarn install",
        "apk": "apk update && apk add x",
    }
    once = fixed(name, f"FROM a\nRUN {lines[tool]}\n", unsafe=True, profile="hadolint")
    assert once.count("clean") <= 2 and once.count("--no-cache") <= 1
    assert fixed(name, once, unsafe=True, profile="hadolint") == once
