"""Go files that are split, or refused, told case by case: what the Dockerfile says, and what its context holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.source import Source

MAIN = "package main\n\nfunc main() {}\n"
MODULE = "module example.com/app\n\ngo 1.22\n"


def split(folder: Path, dockerfile: str, **files: str) -> Optimized:
    """``files``: names with ``__`` for a slash and ``_dot_`` for a dot."""
    (folder / "main.go").write_text(MAIN)
    (folder / "go.mod").write_text(MODULE)
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return optimize(Source("Dockerfile", dockerfile), folder, only=("split_stages",))


def runtime(result: Optimized) -> list[str]:
    """The lines of the second stage. Fails where there is none."""
    assert result.changes, result.refusals
    text = result.source.text
    return text[text.rindex("\nFROM ") :].split()


def reason(result: Optimized) -> str:
    assert not result.changes, result.source.text
    return result.refusals[0].reason


def usual(base: str, build: str = "go build -o app .", command: str = 'CMD ["./app"]', before: str = "") -> str:
    return f"FROM {base}\n{before}WORKDIR /app\nCOPY . .\nRUN {build}\n{command}\n"


@pytest.mark.parametrize(
    ("base", "image"),
    [
        ("golang:1.22-bookworm", "debian:bookworm-slim"),
        ("golang:1.22-bullseye", "debian:bullseye-slim"),
        ("golang:1.25-trixie", "debian:trixie-slim"),
        ("golang:1.22", "debian:bookworm-slim"),
        ("golang", "debian:bookworm-slim"),
        ("docker.io/library/golang:1.22", "docker.io/library/debian:bookworm-slim"),
        ("golang:1.22-alpine3.19", "alpine:3.19"),
        ("golang:alpine", "alpine:3.22"),
    ],
)
def test_the_runtime_image_suits_the_base(tmp_path: Path, base: str, image: str) -> None:
    assert runtime(split(tmp_path, usual(base)))[1] == image


@pytest.mark.parametrize(
    ("base", "image"),
    [
        ("golang:1.22", "debian:bookworm-slim"),
        ("golang:1.24", "debian:stable-slim"),
        ("golang:latest", "debian:stable-slim"),
        ("golang", "debian:stable-slim"),
        ("golang:1.23-bookworm", "debian:bookworm-slim"),
    ],
)
def test_c_code_gets_a_c_library_that_is_not_older(tmp_path: Path, base: str, image: str) -> None:
    """Modules that nobody knows may have C in them, which asks for the symbols of the newest release."""
    result = split(tmp_path, usual(base), go_dot_mod=f"{MODULE}\nrequire github.com/acme/unheard v1.0.0\n")
    assert runtime(result)[1] == image
    static = usual(base, "CGO_ENABLED=0 go build -o app .")
    assert runtime(split(tmp_path, static))[1] == (image if "bookworm" in image else "debian:bookworm-slim")


@pytest.mark.parametrize(
    ("build", "command", "shipped"),
    [
        ("go build", 'CMD ["./app"]', "/app/app"),
        ("go build -o bin/ .", 'CMD ["bin/app"]', "/app/bin/app"),
        ("go build -o /usr/bin/x . && chmod +x /usr/bin/x", "CMD x", "/usr/bin/x"),
        ("go build -o x . && mv x /usr/local/bin/", 'ENTRYPOINT ["x"]', "/usr/local/bin/x"),
        ("go build -o x . && cp x /y", "CMD exec /y -v", "/y"),
        ("go install", 'CMD ["app"]', "/go/bin/app"),
        ("go install ./...", 'CMD ["/go/bin/app"]', "/go/bin/app"),
        ("go build main.go", 'CMD ["./main"]', "/app/main"),
        ("cd /app && go build -o x", "CMD ./x", "/app/x"),
        ("go build -v -ldflags '-s -w' -o x main.go", 'CMD ["sh", "-c", "./x"]', "/app/x"),
    ],
)
def test_where_the_program_goes(tmp_path: Path, build: str, command: str, shipped: str) -> None:
    assert shipped in runtime(split(tmp_path, usual("golang:1.22", build, command)))


def test_a_folder_of_the_context_takes_the_program_in(tmp_path: Path) -> None:
    """`-o app` is app/app where there is a folder of that name: the command does not start it."""
    result = split(tmp_path, usual("golang:1.22"), app__x_dot_txt="x")
    assert "is not the program that is built (/app/app/app)" in reason(result)


READS = 'package main\n\nimport "os"\n\nfunc main() { _, _ = os.ReadFile(os.Args[1]) }\n'


def test_what_may_be_read_is_shipped(tmp_path: Path) -> None:
    files = {"web__a_dot_html": "a", "web__css__b_dot_css": "b", "conf_dot_yaml": "c", "web__x_dot_go": "package web\n"}
    words = runtime(split(tmp_path, usual("golang:1.22"), main_dot_go=READS, **files))
    assert {"/app/conf.yaml", "/app/web/css", "/app/web/a.html"} <= set(words)
    assert not [word for word in words if word.endswith((".go", "go.mod"))]


def test_what_is_ignored_is_not_copied(tmp_path: Path) -> None:
    files = {"_dot_dockerignore": "secret.yaml\nDockerfile\n", "secret_dot_yaml": "s", "conf_dot_yaml": "c"}
    words = runtime(split(tmp_path, usual("golang:1.22"), main_dot_go=READS, **files))
    assert "/app/conf.yaml" in words
    assert "/app/secret.yaml" not in words


def test_files_that_git_ignores_come_with_their_folder(tmp_path: Path) -> None:
    """A fresh checkout lacks them: naming them would break the build there."""
    files = {"_dot_gitignore": "local.db\n", "local_dot_db": "x", "conf_dot_yaml": "c"}
    words = runtime(split(tmp_path, usual("golang:1.22"), main_dot_go=READS, **files))
    assert "/app/local.db" not in words
    assert words[words.index("--from=build") + 1 :][:2] == ["/app", "/app"]


def test_settings_of_a_machine_are_taken_where_they_are(tmp_path: Path) -> None:
    source = 'package main\n\nimport "github.com/joho/godotenv"\n\nfunc main() { godotenv.Load() }\n'
    module = f"{MODULE}\nrequire github.com/joho/godotenv v1.5.1\n"
    words = runtime(split(tmp_path, usual("golang:1.22"), main_dot_go=source, go_dot_mod=module))
    assert "/app/.env*" in words
    hidden = split(
        tmp_path, usual("golang:1.22"), main_dot_go=source, go_dot_mod=module, _dot_dockerignore=".env\nDockerfile\n"
    )
    assert "/app/.env*" not in runtime(hidden)


def test_a_file_that_a_run_makes_of_another_one(tmp_path: Path) -> None:
    text = usual("golang:1.22", "cp conf.example.yaml conf.yaml && go build -o app .")
    assert "/app/conf.yaml" in runtime(split(tmp_path, text, main_dot_go=READS, conf_dot_example_dot_yaml="x"))


PROGRAMS = 'package main\n\nimport "os/exec"\n\nfunc main() {{ {0} }}\n'


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ('exec.Command("git", "pull").Run()', "starts git"),
        ('exec.Command("/usr/bin/curl", "x").Run()', "starts /usr/bin/curl"),
        ("exec.Command(name()).Run()", "it may start programs"),
        ('run := exec.Command; run("git").Run()', "it may start programs"),
        ('exec.Command("sh", "-c", script()).Run()', "starts sh: what that runs is not known"),
        ('exec.Command("bash", "-c", "ls && gcc x.c").Run()', "starts `gcc`"),
        ('exec.CommandContext(ctx, "ps", "aux").Run()', "starts ps"),
    ],
)
def test_programs_of_the_image_are_refused(tmp_path: Path, code: str, why: str) -> None:
    result = split(tmp_path, usual("golang:1.22"), main_dot_go=PROGRAMS.format(code))
    assert why in reason(result)


@pytest.mark.parametrize(
    "code",
    [
        'exec.Command("ls").Run()',
        'exec.Command("sh", "-c", "cat /proc/cpuinfo | head").Run()',
        'exec.LookPath("ffmpeg")',
    ],
)
def test_programs_of_every_image_are_fine(tmp_path: Path, code: str) -> None:
    runtime(split(tmp_path, usual("golang:1.22"), main_dot_go=PROGRAMS.format(code)))


def test_sources_of_other_systems_and_tests_do_not_count(tmp_path: Path) -> None:
    git = PROGRAMS.format('exec.Command("git").Run()')
    ignored = f"//go:build ignore\n\n{git}"
    runtime(split(tmp_path, usual("golang:1.22"), x_windows_dot_go=git, x_test_dot_go=git, gen_dot_go=ignored))


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("RUN curl -o /usr/bin/tool https://example.com/tool\n", "may make what is needed at run time"),
        ("RUN adduser --disabled-password app\nUSER app\n", ""),
        ("USER someone\n", "may have no user someone"),
        ("COPY --from=alpine /etc/passwd /etc/passwd\n", "copies from another image"),
        ("ADD https://example.com/x /x\n", "downloads"),
        ("ENV GOFLAGS=-race\n", "its variables decide"),
        ("ENV X=$GOLANG_VERSION\n", "$GOLANG_VERSION is what the golang image sets"),
        ("RUN chmod 777 /srv\n", "the mode of /srv is changed"),
        ("VOLUME /app\n", "the volume may cover"),
        (
            "RUN apt-get update && apt-get install -y libpcap-dev\n",
            "libpcap-dev may be what the program is linked with",
        ),
    ],
)
def test_what_stands_before(tmp_path: Path, before: str, why: str) -> None:
    result = split(tmp_path, usual("golang:1.22", before=before))
    assert (why in reason(result)) if why else runtime(result)


def test_adduser_is_gone_from_newer_slim_images(tmp_path: Path) -> None:
    text = usual("golang:1.25-trixie", before="RUN adduser --disabled-password app\nUSER app\n")
    assert "the smaller image has no adduser" in reason(split(tmp_path, text))


def test_the_owner_of_files_stays(tmp_path: Path) -> None:
    text = usual(
        "golang:1.22", before="RUN useradd app\n", command='RUN chown -R app:app /app\nUSER app\nCMD ["./app"]'
    )
    result = split(tmp_path, text, main_dot_go=READS, data__x_dot_txt="x")
    assert "COPY --from=build --chown=app:app /app/data /app/data" in result.source.text
    assert result.source.text.count("RUN chown -R app:app /app") == 2


def test_what_only_the_runtime_stage_needs_leaves_the_build_stage(tmp_path: Path) -> None:
    text = usual("golang:1.22", command='RUN useradd app && mkdir /data\nUSER app\nCMD ["./app"]')
    result = split(tmp_path, text)
    assert result.source.text.count("useradd") == 1
    assert "useradd" in runtime(result)


def test_a_program_in_a_mount_is_not_in_the_image(tmp_path: Path) -> None:
    build = "--mount=type=cache,target=/app/bin go build -o bin/x . && cp bin/x /x"
    words = runtime(split(tmp_path, usual("golang:1.22", build, 'CMD ["/x"]')))
    assert "/x" in words
    assert "/app/bin/x" not in words


@pytest.mark.parametrize(
    ("makefile", "why"),
    [
        ("build:\n\tgo build -o app .\n", ""),
        ("NAME = app\nall: build\nbuild: deps\n\tgo build -o $(NAME) .\ndeps:\n\tgo mod download\n", ""),
        ("build:\n\tgo build -o $(shell basename $(PWD)) .\n", "only known at build time"),
        ("build:\n\tcurl x > y\n\tgo build -o app .\n", "`curl x` writes a file"),
        ("build:\n\t$(MAKE) -C sub\n", "`make"),
        ("include other.mk\nbuild:\n\tgo build -o app .\n", "`make"),
    ],
)
def test_makefiles(tmp_path: Path, makefile: str, why: str) -> None:
    result = split(tmp_path, usual("golang:1.22", "make build"), Makefile=makefile)
    assert (why in reason(result)) if why else runtime(result)


@pytest.mark.parametrize("name", ["builder", "build", "app", "prod"])
def test_a_named_stage_stays_what_its_name_leads_to(tmp_path: Path, name: str) -> None:
    text = usual(f"golang:1.22 AS {name}")
    lines = [line for line in split(tmp_path, text).source.text.splitlines() if line.startswith("FROM")]
    build = name.startswith("build")
    assert lines[0] == f"FROM golang:1.22 AS {name if build else 'build'}"
    assert lines[1] == ("FROM debian:bookworm-slim" if build else f"FROM debian:bookworm-slim AS {name}")


def test_a_build_stage_that_something_asks_for_is_left_alone(tmp_path: Path) -> None:
    compose = "services:\n  a:\n    build:\n      target: builder\n"
    assert "--target builder" in reason(split(tmp_path, usual("golang:1.22 AS builder"), compose_dot_yaml=compose))


@pytest.mark.parametrize(
    ("base", "command", "why"),
    [
        ("golang@sha256:" + "0" * 64, 'CMD ["./app"]', "a digest without a tag"),
        ("golang:onbuild", 'CMD ["./app"]', "what the base does on its own"),
        ("golang:1.22-alpine3.19", 'CMD ["bash", "-c", "./app"]', "starts bash, which"),
        ("golang:1.22", 'CMD ["bash", "-c", "./app"]', ""),
        ("golang:1.22", 'ENTRYPOINT ["tini", "--", "./app"]', "starts tini, which"),
        ("golang:1.22", 'CMD ["sh", "-c", "curl x; ./app"]', "starts `curl`, which"),
        ("golang:1.22", 'CMD ["sh", "-c", "sleep 5 && ./app"]', ""),
        ("golang:1.22", 'HEALTHCHECK CMD wget -q x\nCMD ["./app"]', "starts `wget`, which"),
        ("golang:1.22-alpine3.19", 'HEALTHCHECK CMD wget -q x\nCMD ["./app"]', ""),
    ],
)
def test_what_a_container_starts_is_there(tmp_path: Path, base: str, command: str, why: str) -> None:
    result = split(tmp_path, usual(base, command=command))
    assert (why in reason(result)) if why else runtime(result)


@pytest.mark.parametrize("package", ["tini", "bash"])
def test_what_a_container_starts_is_installed_again(tmp_path: Path, package: str) -> None:
    command = 'ENTRYPOINT ["tini", "--", "./app"]' if package == "tini" else 'CMD ["bash", "-c", "./app"]'
    text = usual("golang:1.22-alpine3.19", command=command, before=f"RUN apk add --no-cache make {package}\n")
    result = split(tmp_path, text)
    assert f"\nRUN apk add --no-cache {package}\n" in result.source.text


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("ENV GREETING hello\n", "ENV GREETING=hello"),
        ("ENV GREETING hello world\n", 'ENV GREETING="hello world"'),
        ('ENV GREETING "hello world"\n', 'ENV GREETING="hello world"'),
        ("ENV A=1 B=2\n", "ENV A=1 B=2"),
        ("WORKDIR src\n", "WORKDIR /go/src"),
    ],
)
def test_what_a_check_warns_of_is_not_written_twice(tmp_path: Path, before: str, line: str) -> None:
    result = split(tmp_path, f"FROM golang:1.22\n{before}WORKDIR /app\nCOPY . .\nRUN go build -o app .\nCMD ./app\n")
    assert runtime(result)
    assert f"\n{line}\n" in result.source.text.split("\nFROM ")[1]


def test_an_old_form_that_cannot_be_written_otherwise(tmp_path: Path) -> None:
    result = split(tmp_path, usual("golang:1.22", before='ENV GREETING say "hello" again\n'))
    assert reason(result) == "the old form of ENV would stand in both stages"


def test_a_secret_moves_to_the_stage_that_reads_it(tmp_path: Path) -> None:
    result = split(tmp_path, usual("golang:1.22", before="ARG API_TOKEN\nENV API_TOKEN=$API_TOKEN PORT=80\n"))
    build, final = result.source.text.split("\nFROM ")
    assert "API_TOKEN" not in build
    assert "ARG API_TOKEN\nENV API_TOKEN=$API_TOKEN PORT=80\n" in final
    used = usual("golang:1.22", 'go build -ldflags "-X main.t=$API_TOKEN" -o app .', before="ENV API_TOKEN=x\n")
    assert reason(split(tmp_path, used)) == "a secret would stand in both stages"


@pytest.mark.parametrize(
    ("base", "build", "image"),
    [
        ("golang:1.18", "go build -o app .", "debian:bullseye-slim"),
        ("golang:1.20", "CGO_ENABLED=0 go build -o app .", "debian:bookworm-slim"),
        ("golang:1.25", "go build -o app .", "debian:trixie-slim"),
        ("golang", "CGO_ENABLED=0 go build -o app .", "debian:stable-slim"),
        ("golang:1.23-bookworm", "go build -o app .", "debian:bookworm-slim"),
        ("golang:1.23", "go build -o app .", ""),
        ("golang:1.19.3", "go build -o app .", ""),
    ],
)
def test_packages_come_from_the_release_of_the_base(tmp_path: Path, base: str, build: str, image: str) -> None:
    before = "RUN apt-get update && apt-get install -y git ffmpeg\n"
    result = split(tmp_path, usual(base, build, before=before))
    if image:
        assert runtime(result)[1] == image
        assert "RUN apt-get update && apt-get install -y ffmpeg\n" in result.source.text
    else:
        assert "ffmpeg is needed at run time, and the release" in reason(result)


def test_packages_of_alpine_that_may_have_another_name_elsewhere(tmp_path: Path) -> None:
    text = usual("golang:1.22-alpine", before="RUN apk add --no-cache tzdata vips-tools\n")
    assert "vips-tools is needed at run time, and the release" in reason(split(tmp_path, text))
    assert runtime(split(tmp_path, text.replace(" vips-tools", "")))
    assert runtime(split(tmp_path, text.replace("alpine", "alpine3.19")))


def test_a_registry_that_an_argument_names_stays_one(tmp_path: Path) -> None:
    text = "ARG R=docker.io/library/\n" + usual("${R}golang:1.22-bookworm", "CGO_ENABLED=0 go build -o app .")
    result = split(tmp_path, text)
    assert runtime(result)[:2] == ["FROM", "${R}debian:bookworm-slim"]
