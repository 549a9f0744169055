"""Splitting C and C++ files: which program it is, which libraries come along, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import optimize
from buildopt.dockerfile.parse import parse
from buildopt.dockerfile.splits.c_build import facts
from buildopt.source import Source

MAIN = "int main(void)\n{\n    return 0;\n}\n"
START = 'CMD ["./main"]\n'


def write(context: Path, files: dict[str, str]) -> None:
    for name, text in {"main.c": MAIN, **files}.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def split(text: str, context: Path) -> str:
    """The runtime stage."""
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert result.changes, result.refusals
    assert not parse(result.source).errors
    return "FROM " + result.source.text.partition("\nFROM ")[2]


def refusal(text: str, context: Path) -> str:
    result = optimize(Source("Dockerfile", text), context, only=("split_stages",))
    assert not result.changes
    return result.refusals[0].reason


@pytest.mark.parametrize(
    ("base", "runs_on"),
    [
        ("gcc", "debian:stable-slim"),
        ("gcc:14", "debian:stable-slim"),
        ("gcc:12-bullseye", "debian:bullseye-slim"),
        ("docker.io/library/gcc:13-bookworm", "docker.io/library/debian:bookworm-slim"),
        ("debian:12", "debian:12"),
        ("ubuntu:24.04", "ubuntu:24.04"),
        ("alpine:3.20", "alpine:3.20"),
    ],
)
def test_runtime_image(base: str, runs_on: str, tmp_path: Path) -> None:
    write(tmp_path, {})
    runtime = split(f"FROM {base}\nWORKDIR /app\nCOPY . .\nRUN gcc -o main main.c\n{START}", tmp_path)
    assert runtime == f"FROM {runs_on}\nWORKDIR /app\nCOPY --from=build /app/main /app/main\n{START}"


@pytest.mark.parametrize(
    ("build", "start", "shipped"),
    [
        ("gcc main.c", "CMD ./a.out", "/app/a.out"),
        ("gcc -omain main.c", "CMD exec ./main -v", "/app/main"),
        ("cc -c main.c && cc -o bin/main main.o", 'ENTRYPOINT ["bin/main"]\nCMD ["-v"]', "/app/bin/main"),
        ("gcc main.c -o main && mv main /usr/local/bin/", 'CMD ["main"]', "/usr/local/bin/main"),
        ("gcc main.c -o main && cp main /main", 'CMD ["/main"]', "/main"),
        ("make", "CMD ./main", "/app/main"),
        ("make -j4 main", "CMD ./main", "/app/main"),
        ("cmake -B build && cmake --build build", "CMD ./build/main", "/app/build/main"),
        ("mkdir build && cd build && cmake .. && make", "CMD ./build/main", "/app/build/main"),
        ("mkdir build && cd build && cmake .. && make", "WORKDIR build\nCMD ./main", "/app/build/main"),
    ],
)
def test_program(build: str, start: str, shipped: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "Makefile": "main: main.c\n\t$(CC) -o $@ $<\n",
            "CMakeLists.txt": "project(x C)\nadd_executable(main main.c)\n",
        },
    )
    runtime = split(f"FROM debian:12\nWORKDIR /app\nCOPY . .\nRUN {build}\n{start}\n", tmp_path)
    assert f"COPY --from=build {shipped} {shipped}\n" in runtime
    assert runtime.count("COPY") == 1


@pytest.mark.parametrize(
    ("files", "libraries"),
    [
        ({"Makefile": "main:\n\t$(CC) -o main main.c -lm -lpthread -ldl\n"}, ()),
        ({"Makefile": "LIBS = -lssl -lcrypto\n"}, ("crypto", "ssl")),
        ({"Makefile": "LIBS = $(shell pkg-config --libs gtk4)\n"}, ("gtk4",)),
        ({"Makefile": "main: libown.a\n\t$(CC) -L. -lown\n"}, ()),
        (
            {"CMakeLists.txt": "find_package(Threads REQUIRED)\ntarget_link_libraries(a PRIVATE Threads::Threads m)\n"},
            (),
        ),
        ({"CMakeLists.txt": "add_library(own x.c)\ntarget_link_libraries(a own)\n"}, ()),
        ({"CMakeLists.txt": "find_package(Boost REQUIRED)\n"}, ("Boost",)),
        ({"CMakeLists.txt": "target_link_libraries(a PUBLIC curl)\n"}, ("curl",)),
        ({"configure.ac": "AC_CHECK_LIB([z], [inflate])\n"}, ("z",)),
        ({"CMakeLists.txt": "# find_package(Boost)\n"}, ()),
    ],
)
def test_libraries(files: dict[str, str], libraries: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path, files)
    assert facts(tmp_path, "make").libraries == libraries


def test_packages_that_it_is_linked_with_are_installed_again(tmp_path: Path) -> None:
    write(tmp_path, {})
    text = f"""FROM debian:12
RUN apt-get update && apt-get install -y gcc libc6-dev libcurl4-openssl-dev ca-certificates
WORKDIR /app
COPY . .
RUN gcc -o main main.c -lcurl
{START}"""
    assert "RUN apt-get update && apt-get install -y libcurl4 ca-certificates\n" in split(text, tmp_path)
    text = text.replace("debian:12", "ubuntu:22.04")
    assert "RUN apt-get update && apt-get install -y libcurl4-openssl-dev ca-certificates\n" in split(text, tmp_path)


@pytest.mark.parametrize(
    ("makefile", "fine"),
    [
        ("PREFIX ?= /usr/local\nmain:\n\t$(CC)\ninstall: main\n\tinstall -d $(PREFIX)/bin\n"
         "\tinstall -m 755 main $(PREFIX)/bin\n", True),
        ("main:\n\t$(CC)\ninstall:\n\tcp main /usr/local/bin/main\n", True),
        ("PREFIX = /usr\nmain:\n\t$(CC)\ninstall:\n\tcp main $(PREFIX)/bin/\n", False),
        ("PREFIX = /usr/local\nmain:\n\t$(CC)\ninstall:\n\tcp main x.conf $(PREFIX)/bin/\n", False),
        ("PREFIX = /usr/local\nmain:\n\t$(CC)\ninstall:\n\tcp main $(PREFIX)/bin/\n\tcp a /etc/a\n", False),
        ("PREFIX = /usr/local\nmain:\n\t$(CC)\ninstall:\n\t./install.sh main\n", False),
    ],
)  # fmt: skip
def test_make_install(makefile: str, fine: bool, tmp_path: Path) -> None:
    write(tmp_path, {"Makefile": makefile})
    text = 'FROM debian:12\nWORKDIR /src\nCOPY . .\nRUN make && make install\nCMD ["main"]\n'
    if fine:
        assert split(text, tmp_path).endswith(
            'COPY --from=build /usr/local/bin/main /usr/local/bin/main\nCMD ["main"]\n'
        )
    else:
        assert "is not known to start one program" in refusal(text, tmp_path)


def test_what_it_reads_is_shipped(tmp_path: Path) -> None:
    source = MAIN.replace("return 0", 'return fopen("src/words.txt", "r") == 0')
    write(
        tmp_path, {"main.c": source, "src/words.txt": "x\n", "config.ini": "a\n", "include/a.h": "\n", "README.md": ""}
    )
    runtime = split(f"FROM gcc:13-bookworm\nWORKDIR /app\nCOPY . .\nRUN gcc -o main main.c\n{START}", tmp_path)
    assert "COPY --from=build /app/src/words.txt /app/src/words.txt\n" in runtime
    assert "COPY --from=build /app/config.ini /app/config.ini\n" in runtime
    assert runtime.count("COPY") == 3


@pytest.mark.parametrize(
    ("text", "files", "reason"),
    [
        ("RUN g++ -o main main.cpp", {"main.cpp": MAIN}, "its own libstdc++"),
        ("RUN gcc -o main main.c -lssl", {}, "where the library ssl comes from"),
        ("RUN gcc -o main main.c || true", {}, "is not known to start one program"),
        ("RUN gcc -c main.c", {}, "is not known to start one program"),
        ("RUN gcc -o other main.c", {}, "is not known to start one program"),
        ("RUN gcc -o main main.c && rm main", {}, "is removed again"),
        ("RUN gcc -o main main.c -fsanitize=address", {}, "-fsanitize"),
        ("RUN gcc -o main main.c && touch /ready", {}, "may make what is needed"),
        ("RUN gcc -o main main.c", {"lib/libx.so.1": "x"}, "is a library of its own"),
        ("RUN gcc -o main main.c", {"x.c": 'execv("/bin/ls", 0);'}, "may start programs"),
        ("RUN gcc -o main main.c", {"x.c": 'f("/usr/share/dict/words");'}, "may be a file of the gcc image"),
        ("RUN gcc -o main main.c\nENV V=$GCC_VERSION", {}, "is what the gcc image sets"),
        ("USER nobody\nRUN gcc -o main main.c", {}, "the user changes"),
    ],
)
def test_refused(text: str, files: dict[str, str], reason: str, tmp_path: Path) -> None:
    write(tmp_path, files)
    assert reason in refusal(f"FROM gcc:13-bookworm\nWORKDIR /app\nCOPY . .\n{text}\n{START}", tmp_path)


def test_static_c_plus_plus_of_the_gcc_image(tmp_path: Path) -> None:
    write(tmp_path, {"main.cpp": MAIN})
    text = f"FROM gcc:14\nWORKDIR /app\nCOPY . .\nRUN g++ -static -o main main.cpp\n{START}"
    assert split(text, tmp_path).startswith("FROM debian:bookworm-slim\n")


@pytest.mark.parametrize("base", ["node:20", "python:3.12", "acme/builder"])
def test_other_images_are_none_of_its_business(base: str, tmp_path: Path) -> None:
    write(tmp_path, {})
    text = f"FROM {base}\nWORKDIR /app\nCOPY . .\nRUN make\n{START}"
    result = optimize(Source("Dockerfile", text), tmp_path, only=("split_stages",))
    assert not result.changes
    assert not [refusal for refusal in result.refusals if "program" in refusal.reason]


def test_a_file_is_not_copied_into_a_folder_that_comes_later(tmp_path: Path) -> None:
    write(tmp_path, {"run.sh": "#!/bin/sh\nexec /usr/bin/main\n"})
    text = "FROM debian:12\nCOPY run.sh /app\nCOPY main.c /src/\nRUN gcc -o /usr/bin/main /src/main.c\n"
    assert "COPY --from=build /app /app\n" in split(f"{text}WORKDIR /app/x\nCMD /app\n", tmp_path)
