"""The managers of distributions' packages: their caches are the system's, and only root uses them."""

from __future__ import annotations

from buildopt.dockerfile.manager import Cache, Manager, Portable, word_set

APT = Manager(
    name="apt",
    programs=r"apt-get|apt",
    caches=(
        # Debian keeps what belongs to each architecture under names of its own in both folders, so platforms may share
        # them. Different distributions may not: packages of one name and version need not be the same.
        Cache("/var/cache/apt", portable=Portable.DISTRIBUTION, marks=("cache/apt", "apt/archives")),
        Cache("/var/lib/apt/lists", portable=Portable.DISTRIBUTION, marks=("lib/apt", "apt/lists")),
    ),
    # apt holds a lock on both folders and fails, rather than waits, where another build has it. So builds of several
    # platforms take turns here; without the lock they would fail.
    sharing="locked",
    uses=word_set(
        "update install reinstall upgrade dist-upgrade full-upgrade build-dep source download satisfy "
        "dselect-upgrade changelog search show showsrc policy list depends rdepends"
    ),
    cleanups=(("clean",), ("autoclean",), ("auto-clean",), ("distclean",)),
    valued=word_set("-o --option -t --target-release --default-release -c --config-file -a --host-architecture"),
    system=True,
    strict=True,
    configured_by=r"(?i)apt\.conf|.*\.apt\.conf",
    configures=r"(?i)dir::|dir\s*\{",
)

APK = Manager(
    name="apk",
    programs=r"apk",
    # With this folder there, apk keeps packages and indexes in it, and nothing in /var/cache/apk. An index is named
    # after the repository alone, which all architectures share; a package that has left its repository would be taken
    # for an update on an older release.
    caches=(Cache("/etc/apk/cache", portable=Portable.NOWHERE_ELSE, marks=("apk/cache",)),),
    sharing="locked",
    uses=word_set("add update upgrade fetch"),
    cleanups=(("cache", "clean"), ("cache", "purge")),
    defeating_options=("--no-cache",),
    # Without an index of its own that is as old as the image, what it installs must be what there is today.
    instead=(("--no-cache", "--update-cache"),),
    moving_options=("--cache-dir", "-p", "--root", "--initdb", "--repositories-file"),
    valued=word_set("-X --repository -p --root -t --virtual --cache-dir --arch --keys-dir --wait --cache-max-age"),
    offline_options=("--no-network",),
    system=True,
    strict=True,
    leavings=("/var/cache/apk",),
)

DNF = Manager(
    name="dnf",
    programs=r"dnf|dnf5|yum|microdnf|tdnf",
    caches=(
        # A folder is named after the repository and its list of mirrors, whose address need not tell the architecture.
        Cache("/var/cache/dnf", portable=Portable.PLATFORM, marks=("cache/dnf",)),
        Cache("/var/cache/libdnf5", portable=Portable.PLATFORM, marks=("cache/libdnf5",)),
        Cache("/var/cache/yum", portable=Portable.PLATFORM, marks=("cache/yum",)),
    ),
    sharing="locked",
    uses=word_set(
        "install update upgrade groupinstall reinstall builddep makecache distro-sync downgrade swap localinstall "
        "group module update-minimal upgrade-minimal search info list provides repoquery check-update"
    ),
    cleanups=(
        ("clean", "all"),
        ("clean", "packages"),
        ("clean", "metadata"),
        ("clean", "dbcache"),
        ("clean", "expire-cache"),
    ),
    moving_options=("--installroot", "--cachedir"),
    offline_options=("-C", "--cacheonly", "--downloadonly"),
    valued=word_set("-c --config -x --exclude --installroot --releasever --setopt --enablerepo --disablerepo -d -e -R"),
    system=True,
    configured_by=r"(?:dnf|yum)\.conf",
    configures=r"(?m)^\s*cachedir\s*=",
)

ZYPPER = Manager(
    name="zypper",
    programs=r"zypper",
    caches=(Cache("/var/cache/zypp", portable=Portable.NOWHERE_ELSE, marks=("cache/zypp",)),),
    sharing="locked",
    uses=word_set("install in update up refresh ref dup dist-upgrade patch install-new-recommends inr source-install"),
    cleanups=(("clean",), ("cc",)),
    moving_options=("-R", "--root", "--installroot", "-C", "--cache-dir", "--pkg-cache-dir", "--raw-cache-dir"),
    offline_options=("--no-refresh", "--download-only", "-d"),
    valued=word_set("--root -R --installroot --releasever -p --plus-repo -c --config --reposd-dir -D"),
    system=True,
    configured_by=r"zypp\.conf",
    configures=r"(?m)^\s*(?:cachedir|packagesdir|metadatadir)\s*=",
)

PACMAN = Manager(
    name="pacman",
    programs=r"pacman",
    # Each package's name tells its architecture; lists of packages are elsewhere, in the image.
    caches=(Cache("/var/cache/pacman/pkg", portable=Portable.EVERYWHERE, marks=("cache/pacman",)),),
    sharing="locked",
    # Its subcommands are options; these names stand for what they do.
    uses=word_set("install download"),
    cleanups=(("clean",),),
    moving_options=("--cachedir", "-b", "--dbpath", "-r", "--root", "--sysroot", "--config"),
    offline_options=("-w", "--downloadonly"),
    system=True,
    configured_by=r"pacman\.conf",
    configures=r"(?m)^\s*CacheDir\s*=",
)
