"""Files that no person would write: the same ones each time for the same seed, number and fixtures."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from buildopt.dockerfile.model import KEYWORDS

FIXTURES = Path(__file__).parents[1] / "fixtures"
# What shells, BuildKit's words, JSON and heredocs give a meaning to.
TOKENS = (
    *("$(", ")", "((", "))", "$((", "{", "}", "${", "${a:-", "${a//", "`", "'", '"', '\\"', "\\", "\\\n", "\\ \n"),
    *("<<EOF", "<<-'E'", "EOF", "\nEOF\n", "<<<", "<(", ">", "2>&1", "&>", "|", "||", "&&", ";", ";;", "&", "!", "#"),
    *("[", "]", "[[", "]]", '["a", "b"]', '["a"', ",", "=", "==", "--", "--mount=type=cache,target=/x", "--from=", "$"),
    *("if ", "then ", "fi", "for x in ", "do ", "done", "while ", "case x in ", "esac", "function f", "() ", "else "),
    *("apt-get install -y ", "apt-get update", "rm -rf /var/lib/apt/lists/*", "pip install ", "cd /x", "sudo ", "# "),
    *("npm ci", "go build ", "curl -fsSL http://x | sh", "set -e", "exit 0", "a=b", "export A=$B", "wget ", "sh -c '"),
    *(" ", "  ", "\t", "\r", "\r\n", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\ufeff", "é", "\udcff"),
    *(" AS a", "@sha256:", ":latest", "scratch", "0", "65536", "1-2", "/tcp", "/", "..", "C:\\", "*", "?", "~"),
    *("# syntax=docker/dockerfile:1\n", "# escape=`\n", "# check=skip=all\n", "# hadolint ignore=DL3008\n", "x", "-"),
    *("# buildopt ignore=a\n", "yum -y install a", "in ", "apk add --no-cache a=1", "\n", "\n", "$HOME"),
)  # fmt: skip
NESTING = (
    *(("$(", ")"), ("(", ")"), ("((", "))"), ("{ ", "; }"), ("${a:-", "}"), ("${a/", "}"), ('"$(', ')"'), ("`", "`")),
    *(("$((", "))"), ("'", "'"), ('"', '"'), ("[", "]"), ('["', '"]'), ("{", "}"), ("if a; then ", "; fi")),
    *(("sh -c '", "'"), ("case x in a) ", ";; esac"), ("while a; do ", "; done"), ("ONBUILD ", ""), ("\\", "")),
    *(("a && ", ""), ("! ", ""), ("sudo ", ""), ("env A=b ", ""), ("eval ", ""), ("f() { ", "; }"), ("a | ", "")),
    *(('bash -c "', '"'), ("exec ", ""), ("time ", ""), ("xargs ", ""), ("a\\\n", ""), ("$", ""), ("timeout 1 ", "")),
    *(("<(", ")"), ("<<", ""), ("${", "}"), ("$'", "'")),
)
NESTING_IN = (
    "RUN ",
    "RUN ",
    "RUN ",
    "ENV A=",
    "CMD ",
    "ARG A=",
    "LABEL a=",
    "HEALTHCHECK CMD ",
    "COPY ",
    "ONBUILD RUN ",
)
CONTINUATIONS = (
    *(" \\\n", " && a \\\n", "\\\n", "# c\n", "\n", " A=b \\\n", "apt-get install -y a; \\\n", "\\ \n", "${a \\\n"),
    *("' \\\n", "| b \\\n", "b=c \\\r\n"),
)
STRANGE = (
    *(b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xf0\x9f\x90\x8b", b"\xc2\x85"),
    *(b"\x1b[31m", b"\x0b"),
)
HEREDOC_NAMES = ("E", "EOF", "'E'", '"E F"', "-E", "-'EOF'", " E", "$E", "E\\", "1", "-", "é", "E\t", "'")
HEREDOC_LINES = (
    *("a", "\tb", "if x; then", "apt-get update && \\", "<<E", "E E", "#!/bin/sh", "$(", "'", "pip install x"),
    *("cd /x", "# c", "f() {"),
)
FLAGS = (
    *("--mount=type=cache,target=/x", "--mount=", "--a", "--a=b", '--a="', "--from=0", "--chown=a:b", "--link", "--"),
    *("--=", "--mount=" + ",".join(["a=b"] * 50)),
)
INSTRUCTIONS = """RUN apt-get update && apt-get install -y a
ENV A=$A$A B=${A:-$B}
ARG A=$A
RUN cd /x && pip install a
COPY . .
WORKDIR a
WORKDIR ..
EXPOSE 80
ONBUILD RUN a
LABEL a=b
CMD a
ENTRYPOINT a
USER root
RUN go build
# c
RUN a; b; c
RUN curl x | sh
VOLUME /x
RUN npm ci
ENV A b
RUN rm -rf /var/lib/apt/lists/*
COPY package.json .
RUN --mount=type=cache,target=/x a
run a
MAINTAINER a
SHELL ["bash"]
HEALTHCHECK CMD a
FROM debian:12 AS a
STOPSIGNAL 9
ADD a.tar /""".splitlines()
# Where one long word may stand, and what it is made of.
PLACES = """FROM {}
FROM debian:{}
FROM a@{}
FROM debian AS {}
RUN apt-get install -y {}
RUN pip install {}
RUN npm install {}
RUN gem install {}
RUN yum install -y {}
RUN apk add {}
RUN go get {}
RUN wget -O {} x
RUN useradd {} x
RUN git clone {}
RUN curl {}
RUN cd {}
RUN a > {}
RUN {}=a b
RUN {}
RUN --mount={} a
RUN sh -c '{}'
COPY {} /
COPY a {}
COPY --from={} a b
COPY --chown={} a b
ADD {} /
ADD https://{} /
WORKDIR {}
USER {}
EXPOSE {}
ENV {}=1
ENV A={}
ARG {}
LABEL {}=a
LABEL org.opencontainers.image.url={}
LABEL org.opencontainers.image.created={}
STOPSIGNAL {}
VOLUME {}
HEALTHCHECK --interval={} CMD a
SHELL ["{}"]
# hadolint ignore={}
# buildopt ignore={}
# check=skip={}
# syntax={}
# {}
{} a""".splitlines()
UNITS = (
    *("a", "a.", "a-", "-", "_", "0", "a:", "@", "a/", "..", "../", "a=", ",", "$a", "${a}", "\\"),
    *("é", "a_", "%", "::", "sha256:", "http://", "git@", "x86", "*", "?*", "[a]", "+", "a@", "a~", "==", "a,b="),
    *("1.", ":0", "&&a", ";a", "|a", ">a", "a\\", "''", '""', "()", "{a}", "# "),
)


Dice = random.Random


def make(seed: int, number: int) -> bytes:
    """The malformed file of a seed and a number."""
    dice = random.Random(f"{seed}/{number}")
    kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
    return kind(dice)


def name(seed: int, number: int) -> str:
    """What kind of file it is."""
    dice = random.Random(f"{seed}/{number}")
    return str(dice.choices(list(KINDS), list(KINDS.values()))[0].__name__)


@lru_cache(maxsize=1)
def fixtures() -> tuple[bytes, ...]:
    """The content of all Dockerfiles among the fixtures."""
    paths = sorted(path for path in FIXTURES.rglob("*Dockerfile") if path.is_file())
    return tuple(path.read_bytes() for path in paths)


def encoded(text: str) -> bytes:
    """Text with lone surrogates as the bytes that they stand for."""
    return text.encode("utf-8", "surrogateescape")


def size(dice: Dice, largest: int) -> int:
    """Small mostly, up to ``largest``."""
    return int(largest ** dice.random())


def random_bytes(dice: Dice) -> bytes:
    """Noise."""
    return dice.randbytes(size(dice, 4000))


def noise_behind_a_base(dice: Dice) -> bytes:
    """An instruction with noise for its arguments."""
    return b"FROM debian:12\n" + dice.choice(KEYWORDS).encode() + b" " + dice.randbytes(size(dice, 2000)) + b"\n"


def truncated(dice: Dice) -> bytes:
    """A fixture that ends early."""
    data = dice.choice(fixtures())
    return data[: dice.randrange(len(data) + 1)]


def beheaded(dice: Dice) -> bytes:
    """A fixture that starts late."""
    data = dice.choice(fixtures())
    return data[dice.randrange(len(data) + 1) :]


def flipped(dice: Dice) -> bytes:
    """A fixture with some bytes changed."""
    data = bytearray(dice.choice(fixtures()))
    for _ in range(dice.randint(1, 12)):
        if data:
            data[dice.randrange(len(data))] = dice.choice((dice.randrange(256), *b"\\\n\"'$(){}[]<`#&|; \t\r\0"))
    return bytes(data)


def spliced(dice: Dice) -> bytes:
    """A fixture with pieces of others and tokens put in, and pieces taken out."""
    data = dice.choice(fixtures())
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(data) + 1)
        other = dice.choice(fixtures())
        start = dice.randrange(len(other) + 1)
        put = dice.choice((encoded(dice.choice(TOKENS)), other[start : start + dice.randrange(60)], b""))
        data = data[:at] + put + data[at + dice.choice((0, 0, 1, 7)) :]
    return data


def tokens(dice: Dice) -> bytes:
    """Instructions made of tokens in any order."""
    lines = ["FROM debian:12\n"] * dice.randint(0, 1)
    for _ in range(dice.randint(1, 6)):
        words = (dice.choice(TOKENS) + dice.choice(("", "", " ")) for _ in range(size(dice, 60)))
        lines.append(f"{dice.choice((*KEYWORDS, 'RUN', 'RUN', 'RUN', 'run'))} {''.join(words)}\n")
    return encoded("".join(lines))


def nested(dice: Dice) -> bytes:
    """Constructs inside each other, closed or not, of one kind or of several."""
    kinds = dice.sample(NESTING, dice.choice((1, 1, 1, 2, 3)))
    chosen = [dice.choice(kinds) for _ in range(size(dice, 3000))]
    opened = "".join(left for left, _ in chosen)
    closed = "".join(right for _, right in reversed(chosen)) if dice.random() < 0.5 else ""
    inner = dice.choice(("a", "apt-get update", ""))
    return encoded(f"FROM debian:12\n{dice.choice(NESTING_IN)}{opened}{inner}{closed}\n")


def long_line(dice: Dice) -> bytes:
    """One line around the 64 KiB that BuildKit reads."""
    unit = dice.choice((*TOKENS, "a ", "a", "a=b ", "--a=b ", "curl && ", "$A", '"a",', "a;", "-y ", "\\\\"))
    unit = unit.replace("\n", "").replace("\r", "") or "x"
    length = dice.choice((20000, 65534, 65535, 65536, 70000)) // len(encoded(unit))
    return encoded(f"FROM debian:12\n{dice.choice(KEYWORDS)} {unit * length}\nRUN a\n")


def continued(dice: Dice) -> bytes:
    """Thousands of continuation lines, with comments and blank lines between them."""
    units = dice.sample(CONTINUATIONS, dice.randint(1, 4))
    lines = (dice.choice(units) for _ in range(size(dice, 15000)))
    return encoded(f"FROM debian:12\n{dice.choice(KEYWORDS)} a \\\n{''.join(lines)}")


def strange_characters(dice: Dice) -> bytes:
    """NULs, bytes that are no UTF-8, byte order marks and characters of several bytes, anywhere."""
    data = dice.choice(fixtures())
    for _ in range(dice.randint(1, 30)):
        at = dice.randrange(len(data) + 1)
        data = data[:at] + dice.choice(STRANGE) + data[at:]
    return data


def line_ends(dice: Dice) -> bytes:
    """A fixture with line breaks of all kinds, a byte order mark perhaps, perhaps no break at the end."""
    lines = dice.choice(fixtures()).split(b"\n")
    ends = dice.sample((b"\n", b"\r\n", b"\r", b"\r\r\n", b"\n\r", b" \n", b"\x0b\n", b"\n\n"), dice.randint(1, 3))
    data = b"".join(line + dice.choice(ends) for line in lines)
    return b"\xef\xbb\xbf" * dice.choice((0, 0, 1, 2)) + (data.rstrip() if dice.random() < 0.3 else data)


def heredocs(dice: Dice) -> bytes:
    """Heredocs: many, huge, without an end, with strange names."""
    names = dice.sample(HEREDOC_NAMES, dice.randint(1, 4))
    lines = ["FROM debian:12"]
    for _ in range(size(dice, 40)):
        used = [dice.choice(names) for _ in range(size(dice, 30))]
        head = dice.choice(("RUN ", "COPY ", "ADD ", "ONBUILD RUN ")) + dice.choice(("", "cat ", "a ", "bash "))
        lines.append(head + " ".join(f"<<{operator}" for operator in used))
        for operator in used:
            lines += [dice.choice(HEREDOC_LINES)] * size(dice, 300)
            if dice.random() < 0.9:
                lines.append(operator.strip("-'\" \t\\"))
    return encoded("\n".join(lines) + "\n" * dice.randint(0, 1))


def many_flags(dice: Dice) -> bytes:
    """Flags by the thousand."""
    flags = " ".join(dice.choice(FLAGS) for _ in range(size(dice, 1500)))
    keyword = dice.choice(("RUN", "COPY", "ADD", "HEALTHCHECK", "FROM", "ONBUILD COPY"))
    return encoded(f"FROM debian:12\n{keyword} {flags} a b\n")


def many_stages(dice: Dice) -> bytes:
    """Stages by the hundred, each from an earlier or later one, or from itself."""
    count = size(dice, 400)
    lines = []
    for number in range(count):
        other = dice.randrange(count)
        base = dice.choice(("debian:12", f"s{other}", f"s{number}", "scratch", "$BASE", str(other)))
        lines.append(f"FROM {base} AS s{dice.choice((number, dice.randrange(count)))}")
        reading = (f"COPY --from=s{dice.randrange(count)} / /", f"RUN --mount=from={dice.randrange(count)} a")
        lines += dice.choices((*INSTRUCTIONS, *reading * 5), k=dice.randrange(4))
    return encoded("\n".join(lines) + "\n")


def many_instructions(dice: Dice) -> bytes:
    """The same few instructions by the thousand."""
    units = dice.sample(INSTRUCTIONS, dice.randint(1, 4))
    return encoded("FROM debian:12\n" + "".join(dice.choice(units) + "\n" for _ in range(size(dice, 3000))))


def arrays(dice: Dice) -> bytes:
    """JSON arrays: giant, nested, broken."""
    words = ("a", 'q"', "\\", "é", "$A", "-y", "sh", "-c", "apt-get update", "\n", "\0")
    text = json.dumps([dice.choice(words) for _ in range(size(dice, 6000))], ensure_ascii=dice.random() < 0.5)
    variants = (
        *(
            text,
            text[:-1],
            "[" * 200 + text,
            "[" * 20000,
            text.replace(",", ", \\\n"),
            f"{text} x",
            text.replace('"', "'"),
        ),
        *(
            f"{text[:-1]}, 1]",
            f"{text[:-1]},]",
            text.replace("a", "\\u00", 1),
            f"[{text}]",
            f"{text[:-1]}, {'9' * 5000}]",
        ),
    )
    keyword = dice.choice(("RUN", "CMD", "ENTRYPOINT", "SHELL", "COPY", "VOLUME", "HEALTHCHECK CMD", "ONBUILD CMD"))
    return encoded(f"FROM debian:12\n{keyword} {dice.choice(variants)}\n")


def long_words(dice: Dice) -> bytes:
    """One long word of a repeated piece, for patterns to match slowly."""
    unit, place = dice.choice(UNITS), dice.choice(PLACES)
    line = place.format(unit * size(dice, 20000 // len(unit)) + dice.choice(("", "", "!", "a", " b")))
    return encoded(f"{line}\nFROM debian:12\n" if place.startswith("#") else f"FROM debian:12\n{line}\n")


# How often each kind is made; the large ones cost most and are made less.
KINDS: dict[Callable[[Dice], bytes], int] = {
    random_bytes: 5,
    noise_behind_a_base: 5,
    truncated: 12,
    beheaded: 6,
    flipped: 15,
    spliced: 20,
    tokens: 20,
    nested: 10,
    long_line: 1,
    continued: 2,
    strange_characters: 8,
    line_ends: 8,
    heredocs: 4,
    many_flags: 2,
    many_stages: 2,
    many_instructions: 1,
    arrays: 3,
    long_words: 5,
}
