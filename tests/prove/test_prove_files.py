"""What differs between two images is told; what is no difference is not."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from image_samples import Member, digest, folder, image, layer, symlink, whiteout

from buildopt.prove import files
from buildopt.prove.exclusions import Ledger
from buildopt.prove.files import Expected
from buildopt.prove.image import Image


class Pair:
    """Two images and the ledger of their comparison."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path
        self.ledger = Ledger()

    def image(self, name: str, *members: Member, settings: Mapping[str, object] | None = None) -> Image:
        return image(self.path / name, layer(*members), settings=settings)

    def whole(self, before: Image, after: Image, expected: Expected | None = None) -> list[str]:
        found = files.compare_whole(before, after, self.ledger)
        found = files.without_intended(before, after, found, expected or Expected(), self.ledger)
        return [str(item) for item in files.described(before, after, found)]

    def kept(self, before: Image, after: Image, *, leaves_behind: bool = True) -> list[str]:
        kept = files.kept_paths(after)
        found = files.compare_kept(before, after, kept, self.ledger, leaves_behind=leaves_behind)
        return [str(item) for item in files.described(before, after, found)]

    @property
    def excluded(self) -> dict[str, int]:
        return {item.name: item.count for item in self.ledger.excluded()}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


FILE = Member("app/run", b"one", 0o755, (5, 6))


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (Member("app/run", b"two", 0o755, (5, 6)), "/app/run: content (3 bytes, other ones)"),
        (Member("app/run", b"three", 0o755, (5, 6)), "/app/run: content (was 3 bytes, is 5)"),
        (Member("app/run", b"one", 0o644, (5, 6)), "/app/run: mode (was 0755, is 0644)"),
        (Member("app/run", b"one", 0o4755, (5, 6)), "/app/run: mode (was 0755, is 4755)"),
        (Member("app/run", b"one", 0o755, (0, 6)), "/app/run: owner (was 5:6, is 0:6)"),
        (Member("app/run", b"one", 0o755, (5, 0)), "/app/run: owner (was 5:6, is 5:0)"),
        (symlink("app/run", "one"), "/app/run: type (was a file, is a link)"),
        (folder("app/run"), "/app/run: type (was a file, is a folder)"),
        (
            Member("app/run", b"one", 0o755, (5, 6), xattrs={"security.capability": b"\1\0"}),
            "/app/run: extended attributes (security.capability)",
        ),
    ],
)
def test_each_aspect_of_a_file_counts(pair: Pair, after: Member, told: str) -> None:
    before, new = pair.image("before", folder("app"), FILE), pair.image("after", folder("app"), after)
    assert pair.whole(before, new) == [told]


def test_equal_files_are_equal_whatever_their_times_and_layers(pair: Pair, tmp_path: Path) -> None:
    before = image(tmp_path / "before", layer(folder("app"), FILE, Member("gone")), layer(whiteout("gone")))
    after = image(tmp_path / "after", layer(Member("app/run", b"one", 0o755, (5, 6), time=99), folder("app")))
    assert pair.whole(before, after) == []
    assert list(files.times_only(before.tree, after.tree, sorted(after.tree))) == ["app/run"]


def test_where_a_link_leads_counts(pair: Pair) -> None:
    before, after = pair.image("before", symlink("a", "b")), pair.image("after", symlink("a", "c"))
    assert pair.whole(before, after) == ["/a: target (was → b, is → c)"]


def test_lost_and_new_files(pair: Pair) -> None:
    before, after = pair.image("before", Member("a"), Member("b")), pair.image("after", Member("a"), Member("c"))
    assert pair.whole(before, after) == ["/b: lost", "/c: new"]


def test_a_lost_folder_stands_for_all_below_it(pair: Pair) -> None:
    before = pair.image("before", folder("d"), *(Member(f"d/{number}") for number in range(9)), Member("e"))
    assert pair.whole(before, pair.image("after", Member("e"))) == ["/d: lost (a folder with 9 more below it)"]


def test_the_mode_of_a_folder_counts(pair: Pair) -> None:
    before, after = pair.image("before", folder("d", 0o700)), pair.image("after", folder("d", 0o755))
    assert pair.whole(before, after) == ["/d: mode (was 0700, is 0755)"]


def test_caches_and_logs_do_not_count_and_are_told(pair: Pair) -> None:
    before = pair.image(
        "before", Member("var/log/apt/term.log", b"1"), Member("var/cache/apt/pkgcache.bin"),
        Member("var/lib/apt/lists/x_Packages"), Member("etc/apt/apt.conf.d/docker-clean"),
        folder("root"), folder("root/.cache"), folder("root/.cache/pip"), Member("root/.cache/pip/x"),
        Member("home/a/.npm/_logs/1.log"), Member("var/cache/ldconfig/aux-cache", b"1"),
    )  # fmt: skip
    after = pair.image(
        "after", Member("var/log/apt/term.log", b"2"), Member("etc/apt/apt.conf.d/keep-cache"), folder("root"),
        folder("var/cache/ldconfig"), folder("var/lib"), folder("home/a"),
    )  # fmt: skip
    assert pair.whole(before, after) == []
    assert pair.excluded == {
        "logs": 1,
        "cache of apt": 2,
        "package lists": 2,
        "apt's docker-clean and keep-cache": 2,
        "cache of pip": 2,
        "cache of npm": 3,
        "ldconfig's own cache": 1,
        "emptied folders": 2,  # /root/.cache, /var/lib/apt
    }


@pytest.mark.parametrize(
    "path", ["root/.cache/pip/x", "var/lib/apt/lists/x", "var/cache/apt/pkgcache.bin", "root/.npm/x"]
)
def test_a_cache_that_the_rewrite_leaves_in_the_image_counts(pair: Pair, path: str) -> None:
    before = pair.image("before", folder(path.rpartition("/")[0]))
    told = pair.whole(before, pair.image("after", Member(path, b"downloaded")))
    assert told == [f"/{path}: new"]
    assert pair.whole(before, pair.image("after", Member(path, b""))) == []  # such as a lock


@pytest.mark.parametrize(
    "path",
    ["var/logs/a", "etc/apt/apt.conf.d/99own", "app/.cache/pipx", "var/lib/app/lists", "root/.m2/settings.xml",
     "app/node_modules/.cache/x", "var/cache/app/x", "root/.cargo/bin/tool", "go/bin/tool"],
)  # fmt: skip
def test_what_only_resembles_a_cache_counts(pair: Pair, path: str) -> None:
    before, after = pair.image("before", Member(path)), pair.image("after", Member("x"))
    assert f"/{path}: lost" in pair.whole(before, after)


def test_a_cache_that_the_image_itself_runs_from_counts(pair: Pair) -> None:
    repository = Member("root/.m2/repository/a.jar")
    for settings, told in (
        ({"Cmd": ["mvn", "spring-boot:run"]}, 1),
        ({"Cmd": ["/bin/sh", "-c", "cd /app && ./mvnw -o exec:java"]}, 1),
        ({"Cmd": ["java", "-jar", "a.jar"]}, 0),
    ):
        before = pair.image("before", repository, settings=settings)
        assert len(pair.whole(before, pair.image("after", Member("x"), settings=settings))) == told + 1  # x is new


def test_what_a_cache_mount_hides_counts(pair: Pair) -> None:
    before = pair.image("before", folder("app"), folder("app/target"), Member("app/target/app.jar"))
    after = pair.image("after", folder("app"))
    told = pair.whole(before, after, Expected(cache_targets=("/app/target",)))
    assert told == ["/app/target/app.jar: lost"]


def test_empty_folders_of_cache_mounts_do_not_count_but_others_do(pair: Pair) -> None:
    before, after = (
        pair.image("before", Member("a")),
        pair.image("after", Member("a"), folder("root"), folder("root/x"), folder("root/x/y"), folder("other")),
    )
    assert pair.whole(before, after, Expected(cache_targets=("/root/x/y",))) == ["/other: new (a folder)"]
    assert pair.excluded == {"emptied folders": 3}


def jar(time: int, text: bytes = b"x", inner: bytes | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.class", (time, 1, 1, 0, 0, 0)), text)
        if inner is not None:
            archive.writestr(zipfile.ZipInfo("lib/inner.jar", (time, 1, 1, 0, 0, 0)), inner)
    return out.getvalue()


def compiled(time: bytes, code: bytes) -> bytes:
    return b"\x6f\r\r\n" + b"\0" * 4 + time + b"size" + code


@pytest.mark.parametrize(
    ("name", "old", "new", "equal"),
    [
        ("a.jar", jar(2000), jar(2001), True),
        ("a.jar", jar(2000, inner=jar(2000)), jar(2001, inner=jar(2001)), True),
        ("a.jar", jar(2000, inner=jar(2000)), jar(2001, inner=jar(2001, b"y")), False),
        ("a.jar", jar(2000, b"x"), jar(2001, b"y"), False),
        ("a.jar", jar(2000), b"PK no archive", False),
        ("a.bin", jar(2000), jar(2001), False),
        ("a.gz", gzip.compress(b"text", mtime=1), gzip.compress(b"text", mtime=2), True),
        ("a.gz", gzip.compress(b"text", mtime=1), gzip.compress(b"other", mtime=2), False),
        ("a.pyc", compiled(b"time", b"code"), compiled(b"emit", b"code"), True),
        ("a.pyc", compiled(b"time", b"code"), compiled(b"time", b"edoc"), False),
    ],
)  # fmt: skip
def test_times_inside_files(pair: Pair, name: str, old: bytes, new: bytes, equal: bool) -> None:
    told = pair.whole(pair.image("before", Member(name, old)), pair.image("after", Member(name, new)))
    assert (told == []) is equal
    assert pair.excluded == ({"times inside files": 1} if equal else {})


def test_a_mode_counts_beside_times_inside(pair: Pair) -> None:
    before, after = (
        pair.image("before", Member("a.jar", jar(2000))),
        pair.image("after", Member("a.jar", jar(2001), 0o600)),
    )
    assert len(pair.whole(before, after)) == 1


def test_what_differs_between_two_builds_of_the_original_is_listed_not_told(pair: Pair) -> None:
    before = pair.image("before", Member("stamp", b"1"), Member("a", b"a"), Member("tmp/x1"))
    again = pair.image("again", Member("stamp", b"2"), Member("a", b"a"), Member("tmp/x2"))
    after = pair.image("after", Member("stamp", b"3"), Member("a", b"b"), Member("tmp/x3"))
    found = files.compare_whole(before, after, pair.ledger)
    left = files.without_noise(before, again, found, pair.ledger)
    assert left == {"a": frozenset(["content"])}
    assert pair.excluded == {"not reproducible: content": 1, "not reproducible: lost": 1, "files of changing names": 1}


def test_another_mode_counts_where_only_the_content_is_never_the_same(pair: Pair) -> None:
    before, again = pair.image("before", Member("stamp", b"1")), pair.image("again", Member("stamp", b"2"))
    after = pair.image("after", Member("stamp", b"3", 0o600))
    found = files.compare_whole(before, after, pair.ledger)
    assert files.without_noise(before, again, found, pair.ledger) == {"stamp": frozenset(["mode"])}


def test_files_that_a_new_ignore_file_leaves_out(pair: Pair) -> None:
    before = pair.image(
        "before", Member("app/a.py"), folder("app/.git"), Member("app/.git/HEAD", b"ref"), Member("app/.env", b"X")
    )
    after = pair.image("after", Member("app/a.py"), Member("app/.dockerignore", b".git\n"))
    expected = Expected((), {".git/HEAD": digest(b"ref")}, {".dockerignore": digest(b".git\n")})
    assert pair.whole(before, after, expected) == ["/app/.env: lost"]
    assert pair.excluded == {"left out of the context": 2, "files beside the Dockerfile": 1}


BASE = (folder("etc"), Member("etc/passwd", b"root\n"), Member("etc/os", b"1"), folder("usr"), Member("usr/tool"))


def split(path: Path, *own: Member, below: tuple[Member, ...] = BASE) -> Image:
    return image(path, layer(*below), layer(*own), base=1)


def test_kept_files_must_be_as_before_others_may_stay_behind(pair: Pair, tmp_path: Path) -> None:
    before = split(
        tmp_path / "b", Member("src/a.go"), Member("bin/app", b"one", 0o755), Member("root/cache/x", b"12345")
    )
    after = split(tmp_path / "a", Member("bin/app", b"one", 0o755))
    assert pair.kept(before, after) == []
    behind = files.left_behind(before, after)
    assert [(item.folder, item.files, item.size) for item in behind] == [("/root/cache", 1, 5), ("/src", 1, 0)]


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (Member("bin/app", b"two", 0o755), "/bin/app: content (3 bytes, other ones)"),
        (Member("bin/app", b"one", 0o755, (1, 1)), "/bin/app: owner (was 0:0, is 1:1)"),
        (Member("bin/other", b"one", 0o755), "/bin/other: new"),
    ],
)
def test_a_kept_file_that_is_not_as_before(pair: Pair, tmp_path: Path, own: Member, told: str) -> None:
    before = split(tmp_path / "b", Member("bin/app", b"one", 0o755))
    assert pair.kept(before, split(tmp_path / "a", own)) == [told]


def test_without_a_build_stage_nothing_may_stay_behind(pair: Pair, tmp_path: Path) -> None:
    other = (folder("etc"), Member("etc/passwd", b"root\n"))
    before = split(tmp_path / "b", Member("app/run"), Member("app/data"), Member("root/.cache/pip/x", b"1"))
    after = split(tmp_path / "a", Member("app/run"), below=other)
    assert pair.kept(before, after) == []
    told = pair.kept(before, after, leaves_behind=False)
    assert told == ["/app/data: lost", "/root/.cache: lost (a folder)"]


def test_a_changed_file_of_the_base_image_is_not_left_behind(pair: Pair, tmp_path: Path) -> None:
    before = split(tmp_path / "b", Member("etc/os", b"2"), Member("bin/app"))
    assert pair.kept(before, split(tmp_path / "a", Member("bin/app"))) == ["/etc/os: content (1 bytes, other ones)"]


def test_a_removed_file_of_the_base_image_is_lost(pair: Pair, tmp_path: Path) -> None:
    before = split(tmp_path / "b", Member("bin/app"))
    assert pair.kept(before, split(tmp_path / "a", Member("bin/app"), whiteout("usr/tool"))) == ["/usr/tool: lost"]


def test_packages_of_the_build_do_not_count(pair: Pair, tmp_path: Path) -> None:
    below = (*BASE, Member("var/lib/dpkg/status", b"a"))
    before = split(tmp_path / "b", Member("var/lib/dpkg/status", b"a, gcc"), Member("bin/app"), below=below)
    assert pair.kept(before, split(tmp_path / "a", Member("bin/app"), below=below)) == []
    assert pair.excluded == {"package database": 1}


def test_files_of_another_base_image_do_not_count_and_are_told(pair: Pair, tmp_path: Path) -> None:
    other = (folder("etc"), Member("etc/passwd", b"root\nwww\n"), Member("etc/os", b"9"))
    before = split(tmp_path / "b", Member("bin/app"))
    assert pair.kept(before, split(tmp_path / "a", Member("bin/app"), below=other)) == []
    assert pair.excluded == {"files of the base image": 2}


@pytest.mark.parametrize(("line", "equal"), [(b"app:1000\n", True), (b"app:1001\n", False), (b"", False)])
def test_accounts_that_are_added_to_another_base_image(pair: Pair, tmp_path: Path, line: bytes, equal: bool) -> None:
    other = (folder("etc"), Member("etc/passwd", b"root\nwww\n"))
    before = split(tmp_path / "b", Member("etc/passwd", b"root\napp:1000\n"), Member("bin/app"))
    own = [Member("etc/passwd", b"root\nwww\n" + line)] if line else []
    told = pair.kept(before, split(tmp_path / "a", Member("bin/app"), *own, below=other))
    assert (told == []) is equal


def test_lock_files_may_be_written_anew_and_not_go(pair: Pair) -> None:
    lock = "app/package-lock.json"
    before = pair.image("before", Member(lock, b"{1}"))
    assert pair.whole(before, pair.image("after", Member(lock, b"{}"))) == []
    assert pair.whole(before, pair.image("gone")) != []
    other = "app/node_modules/x/package-lock.json"
    assert pair.whole(pair.image("b", Member(other, b"{1}")), pair.image("a", Member(other, b"{}"))) != []
