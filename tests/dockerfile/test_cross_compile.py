"""Which stages move to the builder's platform, and which must not, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.source import Source

GO = """FROM golang:1.22 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -o /app .

FROM scratch
COPY --from=build /app /app
CMD ["/app"]
"""
ALPINE = GO.replace("golang:1.22", "golang:1.22-alpine").replace("CGO_ENABLED=0 ", "")
SITE = """FROM node:22 AS build
WORKDIR /app
COPY package*.json ./
RUN npm ci
COPY . .
RUN npm run build

FROM nginx
COPY --from=build /app/dist /usr/share/nginx/html
"""
SERVER = SITE.replace("FROM nginx", "FROM node:22").replace("/usr/share/nginx/html", "/app/dist")
PACKAGE = '{"scripts": {"build": "vite build"}}'
TSC = '{"scripts": {"build": "rimraf dist && tsc -p tsconfig.json"}}'


def run(text: str, context: Path | None = None) -> Optimized:
    return optimize(Source("Dockerfile", text), context, only=("cross_compile",))


def line(text: str, context: Path | None = None) -> str:
    """The RUN that compiles, after the pass."""
    result = run(text, context)
    assert "FROM --platform=$BUILDPLATFORM " in result.source.text, result.refusals
    assert not run(result.source.text, context).changes
    return next(item for item in result.source.text.splitlines() if "go build" in item)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("CGO_ENABLED=0 go build", "CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build"),
        ("CGO_ENABLED=0 GOOS=linux go build", "CGO_ENABLED=0 GOOS=linux GOARCH=$TARGETARCH go build"),
        ("GOOS=linux CGO_ENABLED=0 go build", "GOOS=linux CGO_ENABLED=0 GOARCH=$TARGETARCH go build"),
        ("env CGO_ENABLED=0 go build", "env CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build"),
        ("export CGO_ENABLED=0 && go build", "export CGO_ENABLED=0 && GOOS=$TARGETOS GOARCH=$TARGETARCH go build"),
        ("cd /src && CGO_ENABLED=0 go build", "cd /src && CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build"),
        (
            "GOARCH=$TARGETARCH CGO_ENABLED=0 go build",
            "GOARCH=$TARGETARCH CGO_ENABLED=0 GOOS=$TARGETOS go build",
        ),
    ],
)
def test_go_is_told_the_target(before: str, after: str) -> None:
    assert line(GO.replace("CGO_ENABLED=0 go build", before)) == f"RUN {after} -o /app ."


def test_what_is_declared_already_is_not_declared_again() -> None:
    text = GO.replace("COPY . .\n", "COPY . .\nARG TARGETARCH\nARG VERSION\n")
    after = run(text).source.text
    assert after.count("ARG TARGETARCH") == 1
    assert "ARG VERSION\nARG TARGETOS\nRUN " in after


def test_what_go_is_told_already_stays_and_gets_its_argument() -> None:
    told = "CGO_ENABLED=0 GOOS=${TARGETOS:-linux} GOARCH=${TARGETARCH} go build"
    text = GO.replace("CGO_ENABLED=0 go build", told)
    result = run(text).source.text
    assert "ARG TARGETOS TARGETARCH\nRUN " + told in result
    ready = text.replace("COPY . .\n", "COPY . .\nARG TARGETOS TARGETARCH\n")
    assert run(ready).source.text == ready.replace("FROM golang", "FROM --platform=$BUILDPLATFORM golang")


def test_arm_versions_where_the_project_builds_for_them(tmp_path: Path) -> None:
    workflow = tmp_path / ".github" / "workflows" / "ci.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("platforms: linux/amd64,linux/arm64\n")
    assert "GOARM" not in line(GO, tmp_path)
    workflow.write_text("platforms: linux/amd64,linux/arm/v6\n")
    after = run(GO, tmp_path).source.text
    assert "ARG TARGETOS TARGETARCH TARGETVARIANT\n" in after
    assert "GOARCH=$TARGETARCH GOARM=${TARGETVARIANT#v} go build" in after


def test_comments_style_and_line_breaks_stay() -> None:
    text = "from golang:1.22 as build\r\n# modules first\r\ncopy . .\r\n# the program\r\n"
    text += (
        "run CGO_ENABLED=0 \\\r\n    # static\r\n    go build -o /app .\r\nfrom scratch\r\ncopy --from=build /app /\r\n"
    )
    assert run(text).source.text == text.replace("golang", "--platform=$BUILDPLATFORM golang").replace(
        "# the program", "arg TARGETOS TARGETARCH\r\n# the program"
    ).replace("CGO_ENABLED=0", "CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH")


def test_alpine_without_a_compiler_has_no_cgo() -> None:
    assert line(ALPINE) == "RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app ."
    assert line(ALPINE.replace("COPY . .", "RUN apk add --no-cache git tzdata\nCOPY . ."))


def test_stages_upon_stages() -> None:
    text = "FROM golang:1.22 AS deps\nWORKDIR /src\nCOPY go.mod ./\nRUN go mod download\n"
    text += GO.replace("golang:1.22", "deps")
    after = run(text).source.text
    assert "FROM --platform=$BUILDPLATFORM golang:1.22 AS deps" in after
    assert "FROM deps AS build" in after


def test_a_site_that_a_go_program_embeds(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text(PACKAGE)
    text = SITE[: SITE.index("FROM nginx")].replace("AS build", "AS web")
    text += GO.replace("COPY . .", "COPY . .\nCOPY --from=web /app/dist ./web")
    assert run(text, tmp_path).source.text.count("--platform=$BUILDPLATFORM") == 2


def test_modules_of_another_stage_move_along(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text(PACKAGE)
    deps = "FROM node:22 AS deps\nWORKDIR /app\nCOPY package*.json ./\nRUN npm ci\n"
    text = deps + SITE.replace("RUN npm ci", "COPY --from=deps /app/node_modules ./node_modules")
    assert run(text, tmp_path).source.text.count("--platform=$BUILDPLATFORM") == 2
    shared = text.replace("FROM nginx\n", "FROM node:22\nCOPY --from=deps /app/node_modules /app/node_modules\n")
    (tmp_path / "package.json").write_text(TSC)
    result = run(shared, tmp_path)
    assert not result.changes
    assert "what it takes from deps is for the platform" in result.refusals[0].reason


@pytest.mark.parametrize(
    ("text", "package"),
    [
        (SITE, PACKAGE),
        (SITE.replace("/app/dist ", "/app/dist/* "), PACKAGE),
        (SITE.replace("/app/dist ", "/app/dist/shop "), '{"scripts": {"build": "ng build"}}'),
        (SITE.replace("npm ci", "yarn install --frozen-lockfile").replace("npm run build", "yarn build"), PACKAGE),
        (SERVER, TSC),
        (SERVER, '{"scripts": {"build": "nest build"}}'),
        (f"{SERVER}COPY --from=build /app/package.json /app/ecosystem.config.js /app/\n", TSC),
        (SITE.replace("npm ci", "npm install -g @angular/cli && npm ci").replace("npm run", "ng"), '{"a": 1}'),
        (SITE.replace("npm run build", "npx vite build"), "{}"),
        (SERVER.replace("npm run build", "npx tsc -p ."), "{}"),
    ],
)
def test_scripts_are_built_once(text: str, package: str, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text(package)
    result = run(text, tmp_path)
    assert result.source.text == text.replace("FROM node", "FROM --platform=$BUILDPLATFORM node", 1)
    assert not result.refusals


GO_KEPT = {
    "cgo by default": (GO.replace("CGO_ENABLED=0 ", ""), "without CGO_ENABLED=0"),
    "cgo on": (GO.replace("CGO_ENABLED=0", "CGO_ENABLED=1"), "cgo is not off"),
    "cgo by an argument": (
        GO.replace("CGO_ENABLED=0 ", "").replace("COPY . .", "COPY . .\nARG CGO_ENABLED=0"),
        "cgo is not off",
    ),
    "cgo by an argument in ENV": (
        GO.replace("CGO_ENABLED=0 ", "").replace("COPY . .", "ARG CGO=0\nENV CGO_ENABLED=$CGO\nCOPY . ."),
        "cgo is not off",
    ),
    "cgo off but not exported": (GO.replace("CGO_ENABLED=0 go", "CGO_ENABLED=0; go"), "cgo is not off"),
    "alpine with a compiler": (ALPINE.replace("COPY . .", "RUN apk add build-base\nCOPY . ."), "without CGO_ENABLED=0"),
    "alpine of an old Go": (ALPINE.replace("1.22", "1.19"), "without CGO_ENABLED=0"),
    "an old alpine": (ALPINE.replace("1.22-alpine", "alpine3.15"), "without CGO_ENABLED=0"),
    "alpine by an argument": (f"ARG V=1.22\n{ALPINE.replace('1.22', '${V}')}", "without CGO_ENABLED=0"),
    "another target": (GO.replace("CGO_ENABLED=0", "CGO_ENABLED=0 GOARCH=amd64"), "GOARCH is set"),
    "another target by ENV": (GO.replace("COPY . .", "ENV GOARCH=amd64\nCOPY . ."), "GOARCH is set"),
    "another system": (GO.replace("CGO_ENABLED=0", "CGO_ENABLED=0 GOOS=windows"), "GOOS is set"),
    "targets in a loop": (
        GO.replace("CGO_ENABLED=0 go build -o /app .", "for a in amd64 arm64; do GOARCH=$a go build -o /$a .; done"),
        "for a",
    ),
    "another ARM": (GO.replace("CGO_ENABLED=0", "CGO_ENABLED=0 GOARM=6"), "GOARM is set"),
    "the race detector": (GO.replace("go build", "go build -race"), "-race"),
    "a plugin": (GO.replace("go build", "go build -buildmode=plugin"), "-buildmode"),
    "the outer linker": (GO.replace("-o /app", "-ldflags '-linkmode external' -o /app"), "these flags"),
    "GOFLAGS": (GO.replace("COPY . .", "ENV GOFLAGS=-race\nCOPY . ."), "these flags"),
    "tests": (GO.replace("COPY . .", "COPY . .\nRUN go test ./..."), "`go test` runs"),
    "a generator": (GO.replace("COPY . .", "COPY . .\nRUN go generate ./..."), "`go generate` runs"),
    "a library written elsewhere": (
        GO.replace("COPY . .", "RUN cat /usr/lib/libz.so.1 > /out/libz.so.1\nCOPY . ."),
        "may write down what belongs",
    ),
    "programs run by find": (GO.replace("COPY . .", "COPY . .\nRUN find . -name '*.sh' -exec {} ;"), "is not known"),
    "a vet tool": (GO.replace("COPY . .", "COPY . .\nRUN go vet -vettool=/v ./..."), "runs a program of its own"),
    "a program of the module": (GO.replace("COPY . .", "COPY . .\nRUN go run ./gen"), "`go run` runs"),
    "go install": (
        GO.replace("go build -o /app", "go install").replace("/app /app", "/go/bin/app /app")
        + GO.replace("build -o /app .", "build -o /b . && go install example.org/x@v1").replace("AS build", "AS other")
        .replace("--from=build /app /app", "--from=other /go/bin/x /x"),
        "`go install` puts a program",
    ),
    "the program is run": (GO.replace("-o /app .", "-o /app . && /app --version"), "may make something else"),
    "the program is packed": (GO.replace("-o /app .", "-o /app . && upx /app"), "may make something else"),
    "make": (GO.replace("COPY . .", "COPY . .\nRUN make generate"), "may make something else"),
    "the machine asked": (GO.replace("COPY . .", "COPY . .\nRUN curl -o p https://x/$(uname -m)"), "asks for the"),
    "the machine asked of dpkg": (
        GO.replace("COPY . .", "RUN A=$(dpkg --print-architecture) && curl -o p https://x.example/$A\nCOPY . ."),
        "a variable names a platform",
    ),
    "the version tells the machine": (
        GO.replace("go build", 'go build -ldflags "-X main.v=$(go version)"'),
        "tells the platform",
    ),
    "the environment tells the machine": (GO.replace("COPY . .", "RUN go env > /env\nCOPY . ."), "tells the platform"),
    "the target used otherwise": (
        GO.replace("COPY . .", "ARG TARGETARCH\nADD https://x.example/$TARGETARCH /p\nCOPY . ."),
        "it uses TARGETARCH itself",
    ),
    "an argument with a default": (GO.replace("COPY . .", "ARG TARGETARCH=amd64\nCOPY . ."), "has a default"),
    "a global argument of that name": (f"ARG BUILDPLATFORM=linux/amd64\n{GO}", "is declared here"),
    "a tool of another image": (GO.replace("COPY . .", "COPY --from=bufbuild/buf /b /b\nCOPY . ."), "brings along"),
    "a mount of another image": (
        GO.replace("RUN CGO", "RUN --mount=from=busybox,target=/b CGO"),
        "brings along",
    ),
    "a library copied out": (f"{GO}COPY --from=build /usr/lib/libz.so.1 /usr/lib/\n", "may belong to the platform"),
    "the compiler copied out": (f"{GO}COPY --from=build /usr/local/go /usr/local/go\n", "may belong to the platform"),
    "all copied out": (GO.replace("/app /app", "/ /"), "build may be an image of its own"),
    "a library moved and copied out": (
        GO.replace("COPY . .", "RUN cp /usr/lib/libz.so.1 /out/\nCOPY . ."),
        "may move what belongs",
    ),
    "a stage that compiles and ships": (
        GO.replace("FROM scratch\n", "FROM build AS test\nRUN true\nFROM scratch\n"),
        "test may be an image of its own",
    ),
    "a result for another platform": (
        GO.replace("FROM scratch", "FROM --platform=linux/arm64 scratch"),
        "a platform of its own",
    ),
    "ONBUILD": (GO.replace("COPY . .", "ONBUILD RUN go build\nCOPY . ."), "ONBUILD"),
    "another base": (
        GO.replace("golang:1.22", "debian:12").replace("COPY . .", "RUN apt-get install -y golang\nCOPY . ."),
        "only the golang image",
    ),
    "rust": (
        "FROM rust:1 AS b\nCOPY . .\nRUN cargo build --release\nFROM debian\nCOPY --from=b /target/release/a /a\n",
        "cargo needs the target's",
    ),
    "C": ("FROM gcc:12 AS b\nCOPY . .\nRUN gcc -o /a a.c\nFROM debian\nCOPY --from=b /a /a\n", "C needs a cross"),
}  # fmt: skip


@pytest.mark.parametrize("name", GO_KEPT)
def test_go_that_stays_where_it_is(name: str) -> None:
    text, reason = GO_KEPT[name]
    result = run(text)
    if name == "go install":
        assert not any(change.lines[0] > 7 for change in result.changes)
    else:
        assert result.source.text == text
    if reason != "for a":
        assert any(reason in refusal.reason for refusal in result.refusals), result.refusals


JS_KEPT = {
    "modules copied out": (
        f"{SERVER}COPY --from=build /app/node_modules /app/node_modules\n",
        TSC,
        "may hold programs of one platform",
    ),
    "everything copied out": (SERVER.replace("/app/dist /app/dist", "/app /app"), TSC, "may hold node_modules"),
    "a project in a folder with the name of an output": (
        SITE.replace("WORKDIR /app", "WORKDIR /srv/site").replace("/app/dist", "/srv/site"),
        PACKAGE,
        "may hold node_modules",
    ),
    "a project in a folder with the name of a file": (
        SITE.replace("WORKDIR /app", "WORKDIR /srv/site.js").replace("/app/dist", "/srv/site.js"),
        PACKAGE,
        "may hold node_modules",
    ),
    "a folder of such a project": (
        SITE.replace("WORKDIR /app", "WORKDIR /srv/site").replace("/app/dist", "/srv/site/packages"),
        PACKAGE,
        "may hold node_modules",
    ),
    "all files of a project": (SITE.replace("/app/dist", "/app/*"), PACKAGE, "may hold node_modules"),
    "a bundled server": (SERVER, '{"scripts": {"build": "webpack"}}', "the server that is made"),
    "an unknown build": (SITE, '{"scripts": {"build": "node build.mjs"}}', "what makes /app/dist is not known"),
    "images made by a native module": (
        SITE,
        '{"scripts": {"build": "vite build"}, "devDependencies": {"sharp": "1"}}',
        "speaks of sharp",
    ),
    "a program of its own": (SERVER, '{"scripts": {"build": "tsc && pkg dist/a.js"}}', "speaks of pkg"),
    "a script": (SITE, '{"scripts": {"build": "vite build && ./post.sh"}}', "speaks of .sh"),
    "another script": (SITE.replace("npm run build", "npm run build && npm run gen"), PACKAGE, "is not known"),
    "tests": (SITE.replace("RUN npm run build", "RUN npm test && npm run build"), PACKAGE, "is not known"),
    "a program named": (SITE.replace("npm ci", "npm ci && npm install esbuild"), PACKAGE, "may install programs"),
    "a platform named": (SITE.replace("npm ci", "npm ci --cpu=x64"), PACKAGE, "names a platform"),
    "a variable path": (SITE.replace("COPY --from=build /app/dist", "ARG D\nCOPY --from=build $D"), TSC, "known"),
}  # fmt: skip


@pytest.mark.parametrize("name", JS_KEPT)
def test_scripts_that_stay_where_they_are(name: str, tmp_path: Path) -> None:
    text, package, reason = JS_KEPT[name]
    (tmp_path / "package.json").write_text(package)
    result = run(text, tmp_path)
    assert result.source.text == text
    assert any(reason in refusal.reason for refusal in result.refusals), result.refusals


def test_a_program_for_a_stage_that_moves_stays() -> None:
    tool = GO[: GO.index("FROM scratch")].replace("AS build", "AS tool")
    text = tool + GO.replace("COPY . .", "COPY . .\nCOPY --from=tool /app /usr/bin/gen")
    result = run(text)
    assert result.source.text.startswith(tool)
    assert "FROM --platform=$BUILDPLATFORM golang:1.22 AS build" in result.source.text
    assert "would be used on the builder's platform" in result.refusals[0].reason
    used = text.replace("AS build\n", "AS build\n").replace(
        "RUN CGO_ENABLED=0 go build -o /app .\n\nFROM scratch",
        "RUN gen && CGO_ENABLED=0 go build -o /app .\n\nFROM scratch",
    )
    assert "AS build" in run(used).source.text and "BUILDPLATFORM golang:1.22 AS build" not in run(used).source.text


def test_an_output_in_a_folder_of_the_system_is_known_by_its_path() -> None:
    text = GO.replace("WORKDIR /src", "WORKDIR $GOPATH/src/app").replace("-o /app", "-o /go/bin/app")
    text = text.replace("/app /app", "/go/bin/app /app")
    assert run(text).changes
    assert not run(text.replace("--from=build /go/bin/app", "--from=build /go/bin/other")).changes


def test_an_exec_form_is_left_alone() -> None:
    text = GO.replace("COPY . .", "ENV CGO_ENABLED=0\nCOPY . .")
    text = text.replace("RUN CGO_ENABLED=0 go build -o /app .", 'RUN ["go", "build", "-o", "/app", "."]')
    assert run(text).source.text == text


def test_scripts_need_a_context() -> None:
    assert "give --context" in run(SITE).refusals[0].reason


def test_modules_alone_stay_without_a_word() -> None:
    text = "FROM node:22 AS deps\nWORKDIR /app\nCOPY package.json ./\nRUN npm ci\n"
    text += "FROM nginx\nCOPY --from=deps /app/public /usr/share/nginx/html\n"
    result = run(text)
    assert result.source.text == text
    assert not result.refusals


def test_a_stage_that_compose_builds_by_itself(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  dev:\n    build:\n      target: build\n")
    assert "compose.yaml builds a stage" in run(GO, tmp_path).refusals[0].reason


@pytest.mark.parametrize(
    "text",
    [
        GO.replace("FROM golang", "FROM --platform=$BUILDPLATFORM golang"),
        GO.replace("FROM golang", "FROM --platform=linux/amd64 golang"),
        f"ARG BASE=golang\n{GO.replace('golang:', '${BASE}:')}",
        'FROM golang:1.22\nCOPY . .\nRUN CGO_ENABLED=0 go build -o /app .\nCMD ["/app"]\n',
        "FROM alpine AS a\nRUN echo 1 > /x\nFROM alpine\nCOPY --from=a /x /x\n",
    ],
)
def test_files_that_are_no_business_of_it(text: str) -> None:
    result = run(text)
    assert result.source.text == text
    assert not result.refusals
