"""Layers, one upon the other, as a container sees them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from image_samples import Member, digest, elf, folder, hard_link, image, layer, opaque, symlink, whiteout

from buildopt.errors import ArtifactError
from buildopt.prove.flatten import resolve


def paths(tmp_path: Path, *layers: bytes) -> set[str]:
    return set(image(tmp_path / "layout", *layers).tree)


def test_an_upper_layer_replaces_files(tmp_path: Path) -> None:
    found = image(tmp_path / "i", layer(Member("a", b"old")), layer(Member("a", b"new", mode=0o600, owner=(5, 6))))
    entry = found.tree["a"]
    assert (entry.digest, entry.mode, entry.uid, entry.gid, entry.size) == (digest(b"new"), 0o600, 5, 6, 3)


def test_a_whiteout_removes_a_file(tmp_path: Path) -> None:
    assert paths(tmp_path, layer(folder("d"), Member("d/a"), Member("d/b")), layer(whiteout("d/a"))) == {"d", "d/b"}


def test_a_whiteout_removes_a_folder_with_all_in_it(tmp_path: Path) -> None:
    below = layer(folder("d"), folder("d/e"), Member("d/e/a"), Member("dd"))
    assert paths(tmp_path, below, layer(whiteout("d"))) == {"dd"}


def test_a_whiteout_spares_what_its_own_layer_adds_whatever_comes_first(tmp_path: Path) -> None:
    below = layer(folder("d"), Member("d/old"))
    for upper in (
        layer(whiteout("d"), folder("d"), Member("d/new")),
        layer(folder("d"), Member("d/new"), whiteout("d")),
    ):
        assert paths(tmp_path, below, upper) == {"d", "d/new"}


def test_an_opaque_folder_shows_only_its_own_layer(tmp_path: Path) -> None:
    below = layer(folder("d"), Member("d/old"), folder("d/e"), Member("d/e/old"), Member("x"))
    for upper in (
        layer(folder("d", 0o700), opaque("d"), Member("d/new")),
        layer(folder("d", 0o700), Member("d/new"), opaque("d")),
    ):
        found = image(tmp_path / "i", below, upper)
        assert set(found.tree) == {"d", "d/new", "x"}
        assert found.tree["d"].mode == 0o700


def test_an_opaque_root_shows_nothing_from_below(tmp_path: Path) -> None:
    assert paths(tmp_path, layer(Member("a"), folder("d"), Member("d/b")), layer(opaque("."), Member("c"))) == {"c"}


def test_a_file_in_a_folders_place_takes_all_below_it_away(tmp_path: Path) -> None:
    assert paths(tmp_path, layer(folder("d"), Member("d/a")), layer(Member("d", b"x"))) == {"d"}


def test_a_folder_in_a_files_place(tmp_path: Path) -> None:
    found = image(tmp_path / "i", layer(Member("d", b"x")), layer(folder("d"), Member("d/a")))
    assert found.tree["d"].kind == "folder"
    assert set(found.tree) == {"d", "d/a"}


def test_hard_links_are_the_file_that_they_lead_to(tmp_path: Path) -> None:
    found = image(tmp_path / "i", layer(Member("a", b"one", mode=0o755), hard_link("b", "a"), hard_link("c", "./b")))
    assert found.tree["a"] == found.tree["b"] == found.tree["c"]
    assert found.tree["c"].digest == digest(b"one")


def test_a_hard_link_to_a_file_of_a_layer_below(tmp_path: Path) -> None:
    found = image(tmp_path / "i", layer(Member("a", b"one")), layer(hard_link("b", "a")), layer(whiteout("a")))
    assert set(found.tree) == {"b"}
    assert found.tree["b"].digest == digest(b"one")


def test_a_hard_link_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="hard link to nothing"):
        image(tmp_path / "i", layer(hard_link("b", "a")))


def test_a_name_through_a_symbolic_link_of_a_layer_below(tmp_path: Path) -> None:
    below = layer(folder("usr"), folder("usr/lib"), Member("usr/lib/old"), symlink("lib", "usr/lib"))
    assert paths(tmp_path, below, layer(Member("lib/new"), whiteout("lib/old"))) == {
        "usr",
        "usr/lib",
        "usr/lib/new",
        "lib",
    }


def test_folders_that_a_layer_does_not_name(tmp_path: Path) -> None:
    found = image(tmp_path / "i", layer(folder("d", 0o700), Member("d/e/f/a")), layer(Member("d/e/b")))
    assert set(found.tree) == {"d", "d/e", "d/e/f", "d/e/f/a", "d/e/b"}
    assert [found.tree[name].mode for name in ("d", "d/e", "d/e/f")] == [0o700, 0o755, 0o755]


def test_all_kinds_and_attributes(tmp_path: Path) -> None:
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\xff\x00"
    device = Member("null", kind=tarfile.CHRTYPE, mode=0o666)
    upper = layer(
        Member("pipe", kind=tarfile.FIFOTYPE),
        device,
        Member("ping", b"x", 0o4755, xattrs={"security.capability": capability}),
    )
    tree = image(tmp_path / "i", upper).tree
    assert (tree["pipe"].kind, tree["null"].kind) == ("pipe", "character device")
    assert tree["ping"].xattrs == (("security.capability", capability),)
    assert tree["ping"].mode == 0o4755


def test_layers_that_are_not_compressed_and_sizes(tmp_path: Path) -> None:
    plain, packed = layer(Member("a", b"x" * 100_000), packed=False), layer(Member("b", b"x" * 100_000))
    sizes = image(tmp_path / "i", plain, packed).sizes
    assert sizes.compressed == len(plain) + len(packed)
    assert sizes.unpacked == 2 * len(plain)
    assert (sizes.layers, sizes.files) == (2, 2)


def test_many_files_are_not_remembered_by_the_reader(tmp_path: Path) -> None:
    found = image(tmp_path / "i", layer(*(Member(f"f{number}", b"%d" % number) for number in range(3000))))
    assert len(found.tree) == 3000
    assert found.tree["f2999"].digest == digest(b"2999")


@pytest.mark.parametrize("name", ["../a", "a/../../b"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="leads out"):
        image(tmp_path / "i", layer(Member(name)))


def test_a_damaged_layer_is_an_error(tmp_path: Path) -> None:
    whole = layer(Member("a", b"x" * 5000), Member("b", bytes(range(256)) * 50))
    with pytest.raises(ArtifactError, match="cannot be read"):
        image(tmp_path / "i", whole[: len(whole) // 2])


def test_what_programs_and_scripts_say_of_themselves(tmp_path: Path) -> None:
    program = elf(["libc.so.6", "libm.so.6"], interpreter="/lib64/ld-linux-x86-64.so.2", runpath="$ORIGIN/../lib:/opt")
    tree = image(
        tmp_path / "i", layer(Member("p", program), Member("s", b"#! /bin/bash -e\n"), Member("t", b"text"))
    ).tree
    found = tree["p"].elf
    assert found is not None
    assert found.needed == ("libc.so.6", "libm.so.6")
    assert found.interpreter == "/lib64/ld-linux-x86-64.so.2"
    assert found.runpath == ("$ORIGIN/../lib", "/opt")
    assert (found.bits, found.machine) == (64, "EM_X86_64")
    assert tree["p"].digest == digest(program)
    assert (tree["s"].script, tree["t"].script, tree["t"].elf) == ("/bin/bash -e", "", None)


def test_what_only_looks_like_a_program_is_read_like_any_file(tmp_path: Path) -> None:
    tree = image(tmp_path / "i", layer(Member("p", b"\x7fELF and nothing more"))).tree
    assert tree["p"].elf is not None
    assert tree["p"].elf.broken
    assert tree["p"].digest == digest(b"\x7fELF and nothing more")


def test_links_are_followed_as_the_kernel_does(tmp_path: Path) -> None:
    tree = image(
        tmp_path / "i",
        layer(
            Member("usr/bin/dash"), symlink("usr/bin/sh", "dash"), symlink("bin", "usr/bin"),
            symlink("up", "/usr/../bin/sh"), symlink("round", "round"), symlink("gone", "/nowhere"),
        ),
    ).tree  # fmt: skip
    assert resolve(tree, "/bin/sh") == "usr/bin/dash"
    assert resolve(tree, "up") == "usr/bin/dash"
    assert resolve(tree, "round") is None
    assert resolve(tree, "gone") is None
