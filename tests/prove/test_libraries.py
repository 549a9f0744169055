"""Programs find their libraries as the dynamic loader looks for them."""

from __future__ import annotations

import shutil
import struct
import sys
from pathlib import Path

import pytest
from image_samples import Member, elf, folder, image, layer, symlink

from buildopt.prove.image import Image
from buildopt.prove.libraries import missing_in

LOADER = "/lib64/ld-linux-x86-64.so.2"
BASE = (Member("lib64/ld-linux-x86-64.so.2", elf(soname="ld-linux-x86-64.so.2"), 0o755), Member("lib/libc.so.6", elf()))


def program(*needed: str, runpath: str = "", rpath: str = "", interpreter: str = LOADER) -> Member:
    return Member("app/run", elf(needed, interpreter=interpreter, runpath=runpath, rpath=rpath), 0o755)


def library(path: str, *needed: str, runpath: str = "", machine: int = 62) -> Member:
    return Member(path, elf(needed, soname=path.rpartition("/")[2], runpath=runpath, machine=machine))


def ld_cache(**places: str) -> Member:
    """An ld.so.cache as ldconfig writes it; names have underscores for dots."""
    head, entry = struct.Struct("<20sII5I"), struct.Struct("<iIIIQ")
    strings, table = b"", b""
    start = head.size + entry.size * len(places)
    for name, path in places.items():
        key = start + len(strings)
        strings += name.replace("_", ".").encode() + b"\0"
        table += entry.pack(0x303, key, start + len(strings), 0, 0)
        strings += path.encode() + b"\0"
    return Member(
        "etc/ld.so.cache",
        head.pack(b"glibc-ld.so.cache1.1", len(places), len(strings), 0, 0, 0, 0, 0) + table + strings,
    )


def told(tmp_path: Path, before: tuple[Member, ...], after: tuple[Member, ...], **settings: object) -> list[str]:
    old: Image = image(tmp_path / "b", layer(*before), settings=settings)
    new: Image = image(tmp_path / "a", layer(*after), settings=settings)
    return [str(item) for item in missing_in(old, new, sorted(new.tree))[1]]


def lost(tmp_path: Path, whole: tuple[Member, ...], name: str, **settings: object) -> list[str]:
    """What is told once a file is gone; nothing is while it is there."""
    assert told(tmp_path, whole, whole, **settings) == []
    return told(tmp_path, whole, tuple(item for item in whole if item.name != name), **settings)


def test_a_library_in_a_default_folder(tmp_path: Path) -> None:
    whole = (*BASE, program("libc.so.6", "libm.so.6"), library("usr/lib/x86_64-linux-gnu/libm.so.6"))
    assert lost(tmp_path, whole, "usr/lib/x86_64-linux-gnu/libm.so.6") == [
        "/app/run needs libm.so.6, which is not found"
    ]


def test_the_loader_itself(tmp_path: Path) -> None:
    assert lost(tmp_path, (*BASE, program()), "lib64/ld-linux-x86-64.so.2") == [
        f"/app/run needs {LOADER}, which is not found"
    ]


@pytest.mark.parametrize("how", ["runpath", "rpath"])
def test_folders_relative_to_the_program(tmp_path: Path, how: str) -> None:
    start = program("liba.so", **({how: "$ORIGIN/../libs:/nowhere"}))
    assert len(lost(tmp_path, (*BASE, folder("app"), start, library("libs/liba.so")), "libs/liba.so")) == 1


def test_rpath_also_holds_for_libraries_of_libraries_and_runpath_does_not(tmp_path: Path) -> None:
    libraries = (library("libs/liba.so", "libb.so"), library("libs/libb.so"))
    good = (*BASE, program("liba.so", rpath="/libs"), *libraries)
    broken = (*BASE, program("liba.so", runpath="/libs"), *libraries)
    assert told(tmp_path, good, broken) == [
        "/app/run needs libb.so, which is not found: /libs/liba.so needs it; "
        "it is at /libs/libb.so, where the loader does not look; does the last stage run ldconfig?"
    ]


def test_a_library_that_another_one_needs(tmp_path: Path) -> None:
    whole = (*BASE, program("liba.so"), library("lib/liba.so", "libb.so"), library("lib/libb.so"))
    assert lost(tmp_path, whole, "lib/libb.so") == [
        "/app/run needs libb.so, which is not found: /lib/liba.so needs it",
        "/lib/liba.so needs libb.so, which is not found",
    ]


def test_what_ldconfig_knows_counts_not_where_the_file_lies(tmp_path: Path) -> None:
    library_ = library("usr/local/lib/libx.so.1")
    known = (*BASE, program("libx.so.1"), library_, ld_cache(libx_so_1="/usr/local/lib/libx.so.1"))
    unknown = (*BASE, program("libx.so.1"), library_, Member("etc/ld.so.conf", b"/usr/local/lib\n"))
    assert told(tmp_path, known, known) == []
    assert "does the last stage run ldconfig?" in told(tmp_path, known, unknown)[0]


def test_the_environment_says_where_to_look(tmp_path: Path) -> None:
    whole = (*BASE, program("libx.so"), library("opt/libx.so"))
    assert len(lost(tmp_path, whole, "opt/libx.so", Env=["LD_LIBRARY_PATH=/opt"])) == 1


def test_links_to_libraries_are_followed(tmp_path: Path) -> None:
    whole = (*BASE, program("libx.so.1"), symlink("lib/libx.so.1", "libx.so.1.2"), library("lib/libx.so.1.2"))
    assert lost(tmp_path, whole, "lib/libx.so.1.2") == [
        "/app/run needs libx.so.1, which is not found",
        "/lib/libx.so.1 needs libx.so.1.2, which is not found: a symbolic link that leads there",
    ]


def test_a_library_for_another_machine_is_none(tmp_path: Path) -> None:
    good = (*BASE, program("libx.so"), library("lib/libx.so"))
    wrong = (*BASE, program("libx.so"), library("lib/libx.so", machine=183))
    assert len(told(tmp_path, good, wrong)) == 1


def test_what_the_original_does_not_find_either_is_no_loss(tmp_path: Path) -> None:
    whole = (*BASE, program("libplugin.so"))
    assert told(tmp_path, whole, whole) == []


MUSL = Member("lib/ld-musl-x86_64.so.1", elf(soname="ld-musl-x86_64.so.1"), 0o755)


@pytest.mark.parametrize(
    ("extra", "place"),
    [((), "usr/local/lib/libx.so"), ((Member("etc/ld-musl-x86_64.path", b"/opt/own\n/lib\n"),), "opt/own/libx.so")],
)
def test_musl_looks_in_folders_of_its_own(tmp_path: Path, extra: tuple[Member, ...], place: str) -> None:
    start = program("libx.so", interpreter="/lib/ld-musl-x86_64.so.1")
    assert len(lost(tmp_path, (MUSL, start, library(place), *extra), place)) == 1


def test_a_program_for_musl_does_not_start_on_glibc(tmp_path: Path) -> None:
    start = program(interpreter="/lib/ld-musl-x86_64.so.1")
    assert told(tmp_path, (MUSL, start), (*BASE, start)) == [
        "/app/run needs /lib/ld-musl-x86_64.so.1, which is not found"
    ]


@pytest.mark.parametrize(
    ("line", "gone"),
    [("#!/usr/bin/python3\n", "/usr/bin/python3"), ("#! /usr/bin/env -S A=1 python3 -u\n", "python3")],
)
def test_the_interpreter_of_a_script(tmp_path: Path, line: str, gone: str) -> None:
    programs = (Member("usr/bin/python3", b"x", 0o755), Member("usr/bin/env", b"x", 0o755))
    whole = (*programs, Member("app/run", line.encode(), 0o755), Member("app/text", line.encode(), 0o644))
    assert lost(tmp_path, whole, "usr/bin/python3") == [
        f"/app/run needs {gone}, which is not found: its first line names it"
    ]


def test_where_a_kept_link_leads(tmp_path: Path) -> None:
    whole = (
        Member("usr/bin/python3", b"x", 0o755),
        symlink("venv/bin/python", "/usr/bin/python3"),
        symlink("x", "/no"),
    )
    assert lost(tmp_path, whole, "usr/bin/python3") == [
        "/venv/bin/python needs /usr/bin/python3, which is not found: a symbolic link that leads there"
    ]


@pytest.mark.parametrize("settings", [{"Cmd": ["tool", "x"]}, {"Entrypoint": ["/usr/local/bin/tool"], "Cmd": ["x"]}])
def test_the_program_that_a_container_starts(tmp_path: Path, settings: dict[str, object]) -> None:
    whole = (Member("usr/local/bin/tool", b"x", 0o755), Member("x", b"", 0o644))
    assert len(lost(tmp_path, whole, "usr/local/bin/tool", **settings)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="no ELF files")
def test_a_real_program(tmp_path: Path) -> None:
    found = shutil.which("ls")
    assert found is not None
    data = Path(found).read_bytes()
    tree = image(tmp_path / "i", layer(Member("ls", data, 0o755))).tree
    assert tree["ls"].elf is not None
    assert any(name.startswith(("libc.", "ld-musl")) for name in tree["ls"].elf.needed)
    assert tree["ls"].elf.interpreter.startswith("/lib")
