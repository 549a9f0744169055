"""Splitting a Rust file: the programs are shipped on the slim image of the rust image's distribution.

Libraries of the system that the crates bind (OpenSSL, libpq, …) are installed in the runtime stage. What the rust image
itself sets (CARGO_HOME, RUSTUP_HOME, its part of PATH) is not in the new image.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from buildopt.dockerfile.managers import word_set
from buildopt.dockerfile.passes.runs import Run
from buildopt.dockerfile.shell import Command
from buildopt.dockerfile.splits import runtime_images
from buildopt.dockerfile.splits.compiled import BUILD_PACKAGES, CERTIFICATES, Reads, Shipment
from buildopt.dockerfile.splits.programs import copied, known_steps, on_image, started_programs, two_stages
from buildopt.dockerfile.splits.rust_crates import Crates, crates, packages
from buildopt.dockerfile.splits.rust_links import linked
from buildopt.dockerfile.splits.rust_lock import missing
from buildopt.dockerfile.splits.rust_project import HOME, Cargo, RustBuild, builds
from buildopt.dockerfile.splits.rust_sources import read_sources
from buildopt.dockerfile.splits.shipped import Landed, text_of
from buildopt.dockerfile.splits.splits import No, Split, Subject, casing, copy_line, known_variables, writes_files

_BASE_NAMES = frozenset(("RUSTUP_HOME", "RUST_VERSION"))
_CARGO_COMMANDS = word_set(
    "build b install fetch check test clippy fmt --version update tree clean generate-lockfile vendor"
)
_SOURCES = ("*.rs", "Cargo.toml", "Cargo.lock", "rust-toolchain*", "rustfmt.toml", ".rustfmt.toml", "clippy.toml")
_IDLE = frozenset((".cargo", "target", "tests", "benches", "examples", ".sqlx", "fuzz"))
# Where tricks that keep compiled dependencies put the sources of a program that does nothing.
_DUMMY = re.compile(r"(?:.*/)?(?:src|benches|examples|tests|target|crates)(?:/.*)?|.*\.rs|(?:.*/)?Cargo\.(?:toml|lock)")
# Settings of Cargo, the last line those that speak in the place of a build script.
_DECIDING = re.compile(
    r"^\s*(?:[\w'\"-]+\s*\.\s*)*(?:target|target-dir|rustflags|linker|root)\s*=|^\s*\[env\]"
    r"|^[^#\n]*\brustc-(?:link-lib|flags|link-arg\S*|link-search)\s*=",
    re.MULTILINE,
)
_BUILD_LIBRARIES = word_set(
    "libssl-dev libpq-dev libsqlite3-dev libmysqlclient-dev libmariadb-dev default-libmysqlclient-dev zlib1g-dev "
    "libcurl4-openssl-dev libclang-dev openssl-dev openssl-libs-static sqlite-dev sqlite-static zlib-dev zlib-static "
    "libprotobuf-dev perl openssl libssl3 libssl1.1 llvm-dev libstdc++ libgcc"
)


def concerns(subject: Subject) -> bool:
    """Whether the base is the rust image."""
    return subject.final.base.repository == "rust"


def plan(subject: Subject) -> Split:
    """Ship the programs, and of the files those that they may read. Raises No."""
    entry = subject.entry()
    if entry is None:
        raise No(subject.origin, "there is no CMD or ENTRYPOINT: the image may be meant for working with Rust")
    if re.match(r"^\W*cargo\b", entry.arguments.text):
        raise No(entry, "a container runs cargo, which the smaller image lacks")
    runs = subject.runs
    subject = _on_rust(subject)
    known_variables(subject, _BASE_NAMES, "rust")
    files = _without_vendored(copied(subject))
    _plain_settings(subject, files)
    done = known_steps(subject, _is_build)
    cargo = Cargo(subject, files)
    made = builds(cargo, subject.runs)
    if not made:
        raise No(subject.head[-1], "no `cargo build` or `cargo install --path` makes a program here")
    folders = _folders(subject, files)
    built = [(build.output, build.run) for build in made]
    outputs, start, check = started_programs(subject, files, built, done, lambda path: path in folders)
    used = crates(
        *_manifests(subject, files),
        [name for item in done for name in item.packages],
        full=_is_full(subject),
        unlisted=missing(cargo, made, runs),
    )
    links = linked(cargo, made, static=_is_static(subject, made))
    sources = read_sources(subject, files)
    problem = used.problem or links.problem or sources.problem
    if problem:
        raise No(made[0].run.instruction, problem)
    used = replace(used, libraries=tuple(sorted({*used.libraries, *links.libraries})))
    reads = Reads(sources.reads or used.many, sources.settings, sources.names, sources.programs)
    found = Shipment(subject, files, done, outputs, start, check, reads, _SOURCES, _IDLE, mixed=False)
    return _split(found, used, made)


def _without_vendored(files: Sequence[Landed]) -> tuple[Landed, ...]:
    """The files without those of crates that ``cargo vendor`` brought: Cargo.lock speaks for them."""
    vendored = {posixpath.dirname(item.path) for item in files if item.name == ".cargo-checksum.json"}
    if not vendored:
        return tuple(files)
    return tuple(item for item in files if vendored.isdisjoint(_above(item.path)))


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = posixpath.dirname(path)
        yield path


def _on_rust(subject: Subject) -> Subject:
    """The subject with the variables that the rust image sets, without the commands that only make sources."""
    subject = on_image(subject, {"CARGO_HOME": HOME, "PATH": None})
    return replace(subject, runs=[_without_dummies(run) for run in subject.runs])


def _without_dummies(run: Run) -> Run:
    if run.script is None:
        return run
    kept = tuple(command for command in run.commands if not _is_dummy(command))
    return replace(run, script=replace(run.script, commands=kept))


def _is_dummy(command: Command) -> bool:
    """Whether a command makes or removes nothing but sources and what is compiled of them."""
    name = command.name or ""
    if name == "cargo" and command.texts[:1] in (("new",), ("init",)):
        return True
    if any(word.text is None for word in command.arguments) and name not in ("echo", "printf"):
        return False
    targets = [item.target.text or "" for item in command.redirects if item.target is not None]
    if name in ("echo", "printf", "cat", ":") and targets and writes_files(command):
        return all(_DUMMY.fullmatch(target) for target in targets if target != "/dev/null")
    operands = [text for text in command.texts if not text.startswith("-")]
    if targets or not operands:
        return False
    if name in ("mv", "cp"):
        return all(text.endswith(".rs") for text in operands)
    return name in ("mkdir", "touch", "rm", "rmdir") and all(
        _DUMMY.fullmatch(text) and (name != "rm" or not _holds_programs(text)) for text in operands
    )


def _holds_programs(text: str) -> bool:
    """Whether a path may be that of a program, or of a folder of programs, rather than of what the compiler keeps."""
    if re.search(r"(?:^|/)(?:target|release|debug)/?$", text):
        return True
    return re.search(r"(?:release|debug)/[^/.*]+$", text) is not None and not text.endswith(("/deps", "/build"))


def _is_build(command: Command) -> bool:
    if command.name == "cargo":
        words = [text for text in command.texts if not text.startswith("+")]
        return bool(words) and words[0] in _CARGO_COMMANDS
    return command.name in ("rustup", "rustc", "strip", "upx")


def _plain_settings(subject: Subject, files: Iterable[Landed]) -> None:
    """Refuse settings of Cargo that decide where programs go, or what they are linked with. Raises No."""
    for item in files:
        if re.search(r"(?:^|/)\.cargo/config(?:\.toml)?$", item.path):
            text = text_of(subject, item) or ""
            if _DECIDING.search(text):
                raise No(item.instruction, f"{item.origin} decides how the program is built")


def _folders(subject: Subject, files: Iterable[Landed]) -> set[str]:
    found = {"/", "/bin", "/usr/bin", "/usr/local/bin", "/opt", "/tmp", f"{HOME}/bin"}
    found |= {state.workdir for state in subject.known.values() if state.workdir}
    for item in files:
        folder = posixpath.dirname(item.path)
        while folder not in found:
            found.add(folder)
            folder = posixpath.dirname(folder)
    return found


def _manifests(subject: Subject, files: Sequence[Landed]) -> tuple[str | None, list[str]]:
    locks = [text_of(subject, item) for item in files if item.name == "Cargo.lock"]
    manifests = [text_of(subject, item) or "" for item in files if item.name == "Cargo.toml"]
    return ("\n".join(text for text in locks if text) if locks else None), manifests


def _is_full(subject: Subject) -> bool:
    """Whether the base has the -dev packages of many libraries."""
    return re.search(r"slim|alpine", subject.final.base.tag.lower()) is None


def _is_static(subject: Subject, made: Iterable[RustBuild]) -> bool:
    """Whether all programs are linked with nothing that is loaded when they start: musl's are, unless flags say no."""
    alpine = "alpine" in subject.final.base.tag.lower()
    return all(build.target.endswith("-musl") if build.target else alpine for build in made)


def _split(found: Shipment, used: Crates, made: Sequence[RustBuild]) -> Split:
    image, libraries = _runtime(found, used, made)
    certificates = (used.certificates or "ca-certificates" in found.packages) and not libraries
    return two_stages(
        found,
        image,
        lambda name: _is_needed(found, name),
        stays="compiler and compiled crates",
        variable=("CARGO_HOME", HOME),
        lines=(copy_line(found.subject, CERTIFICATES),) if certificates else (),
        install=_install(found.subject, libraries),
    )


def _is_needed(found: Shipment, package: str) -> bool:
    return package not in _BUILD_LIBRARIES and found.is_needed(package)


def _install(subject: Subject, libraries: Sequence[str]) -> tuple[str, ...]:
    """The RUN that installs the libraries, over three lines."""
    if not libraries:
        return ()
    names = " ".join(sorted({"ca-certificates", *libraries}))
    newline, escape = subject.source.newline, subject.dockerfile.escape
    lines = (
        f"{casing(subject)('RUN')} apt-get update {escape}",
        f"    && apt-get install -y --no-install-recommends {names} {escape}",
        "    && rm -rf /var/lib/apt/lists/*",
    )
    return (newline.join(lines),)


def _runtime(found: Shipment, used: Crates, made: Sequence[RustBuild]) -> tuple[str, list[str]]:
    """The slim image of the rust image's distribution, and the packages to install on it. Raises No."""
    subject, where = found.subject, found.where.instruction
    base = runtime_images.release(subject, "rust")
    targets = {build.target for build in made}
    foreign = next((name for name in targets if name and "linux" not in name), None)
    if foreign is not None:
        raise No(where, f"the program is built for {foreign}")
    static = targets and all(name.endswith("-musl") for name in targets)
    odd = [
        name
        for name in found.packages
        if name.endswith("-dev") and name not in BUILD_PACKAGES and name not in _BUILD_LIBRARIES
    ]
    if odd:
        raise No(where, f"{sorted(odd)[0]} may be what the program is linked with")
    if static or base.alpine:
        if used.libraries and not base.alpine:
            raise No(where, f"what {used.libraries[0]} is linked with is not known")
        wanted = [name for name in found.packages if _is_needed(found, name)]
        runtime_images.same_packages(subject, base, wanted, None)
        return base.image(any_release=True), []
    if "$" in subject.written_base:
        raise No(subject.origin, "the base must be written out: C libraries differ")
    wanted = [name for name in found.packages if _is_needed(found, name)]
    try:
        suite = base.name or settled_suite(subject.final.base.tag.lower(), libraries=bool(used.libraries or wanted))
        libraries = packages(used.libraries, suite or "stable")
    except KeyError:
        libraries, suite = None, ""
    if libraries is None:
        name = (*used.libraries, *wanted)[0]
        raise No(where, f"which package of {base.name or 'this Debian'} {name} needs is not known")
    return base.image(any_release=False, floor=suite), libraries


def settled_suite(tag: str, *, libraries: bool) -> str:
    """The Debian release to ship on where a tag names none; empty where the tag floats.

    Without shared libraries any newer release will do. Raises KeyError where the release is not known.
    """
    minor = runtime_images.minor_version(tag)
    if minor is None or minor > 100:
        return ""
    if minor > 88:
        return "trixie"
    if minor == 70 and libraries:
        raise KeyError(tag)
    return "bookworm" if minor >= 70 or not libraries else "bullseye"
