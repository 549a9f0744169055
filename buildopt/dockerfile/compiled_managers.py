"""The managers of what is compiled: their caches hold sources and libraries that later commands build against."""

from __future__ import annotations

from buildopt.dockerfile.manager import Cache, Manager, Portable, word_set

GO = Manager(
    name="go",
    programs=r"go[0-9.]*",
    caches=(
        Cache("/go/pkg/mod", (("GOMODCACHE", ""), ("GOPATH", "/pkg/mod")), marks=("pkg/mod", "GOMODCACHE"), alone=True),
        # The build cache knows the compilers, but not the C headers and libraries of cgo.
        Cache(
            "~/.cache/go-build",
            (("GOCACHE", ""), ("XDG_CACHE_HOME", "/go-build")),
            Portable.DISTRIBUTION,
            ("go-build", "GOCACHE"),
            alone=True,
        ),
    ),
    sharing="shared",
    idle=word_set("version env fmt help bug doc fix clean") | {""},
    cleanups=(("clean", "-modcache"), ("clean", "-cache"), ("clean", "--modcache"), ("clean", "--cache")),
    lockfiles=("go.sum",),
    offline=("GOPROXY=off",),
    strict=True,
)

CARGO = Manager(
    name="cargo",
    programs=r"cargo|cargo-chef|cargo-binstall|cargo-nextest",
    # The registry alone: cargo itself may be in CARGO_HOME, and what cargo compiles is never stale here. Its lock is
    # outside, so that builds must take turns.
    caches=(
        Cache(
            "~/.cargo/registry",
            (("CARGO_HOME", "/registry"),),
            marks=("cargo/registry", "CARGO_HOME/registry"),
            alone=True,
        ),
    ),
    sharing="locked",
    idle=word_set("--version init new clean fmt search login owner help version uninstall") | {""},
    lockfiles=("Cargo.lock",),
    offline=("CARGO_NET_OFFLINE",),
    offline_options=("--offline", "--frozen"),
    strict=True,
)

# Of dependencies that are repositories of git; few projects have any.
CARGO_GIT = Cache("~/.cargo/git", (("CARGO_HOME", "/git"),), marks=("cargo/git",), alone=True)

MAVEN = Manager(
    name="maven",
    programs=r"mvn|mvnw|mvnd",
    caches=(Cache("~/.m2/repository", marks=(".m2", "maven.repo.local")),),
    sharing="locked",
    idle=frozenset({"", "wrapper:wrapper"}),
    moving_options=("-Dmaven.repo.local", "-gs", "--global-settings"),
    valued=word_set("-s --settings -f --file -P -pl --projects -T --threads -l -gs --global-settings -rf"),
    lockfiles=("pom.xml",),
    offline_options=("-o", "--offline", "-llr"),
    strict=True,
    configured_by=r"settings(?:-\w+)?\.xml|maven\.config|toolchains\.xml",
    configures=r"<localRepository>|<offline>\s*true|maven\.repo\.local",
)

GRADLE = Manager(
    name="gradle",
    programs=r"gradle|gradlew",
    caches=(Cache("~/.gradle/caches", (("GRADLE_USER_HOME", "/caches"),), marks=("gradle/caches",)),),
    sharing="locked",
    idle=frozenset({""}),
    moving_options=("-g", "--gradle-user-home", "-Dgradle.user.home"),
    valued=word_set("-x --exclude-task -b --build-file -c -p --project-dir -I --init-script --console --max-workers"),
    lockfiles=("gradle.lockfile",),
    offline_options=("--offline",),
    strict=True,
)

SBT = Manager(
    name="sbt",
    programs=r"sbt",
    caches=(
        Cache("~/.cache/coursier", (("COURSIER_CACHE", ""), ("XDG_CACHE_HOME", "/coursier")), marks=("coursier",)),
        Cache("~/.ivy2/cache", marks=("ivy2",)),
        Cache("~/.sbt/boot", marks=(".sbt/boot",)),
    ),
    sharing="locked",
    idle=word_set("--version version about") | {""},
    moving_options=("-ivy", "--ivy", "-sbt-dir", "--sbt-dir", "-sbt-boot", "--sbt-boot", "-no-share", "--no-share"),
    offline=("offline",),
    strict=True,
)

DOTNET = Manager(
    name="dotnet",
    programs=r"dotnet",
    caches=(Cache("~/.nuget/packages", (("NUGET_PACKAGES", ""),), marks=(".nuget",)),),
    sharing="locked",
    uses=word_set("restore build publish pack test msbuild"),
    cleanups=(("nuget", "locals", "all", "--clear"), ("nuget", "locals", "all", "-c")),
    moving_options=("--packages",),
    lockfiles=("packages.lock.json",),
    strict=True,
    configured_by=r"(?i)nuget\.config",
    configures=r"(?i)globalPackagesFolder|repositoryPath|fallbackPackageFolders",
)

MIX = Manager(
    name="mix",
    programs=r"mix",
    # Archives; what is unpacked from them is in the project's own folder.
    caches=(Cache("~/.hex/packages", (("HEX_HOME", "/packages"),), marks=(".hex/packages",)),),
    sharing="shared",
    uses=word_set("deps.get deps.update"),
    offline=("HEX_OFFLINE",),
    lockfiles=("mix.lock",),
)

CABAL = Manager(
    name="cabal",
    programs=r"cabal",
    caches=(Cache("~/.cabal/packages", (("CABAL_DIR", "/packages"),), marks=("cabal/packages",)),),
    sharing="locked",
    idle=word_set("--version clean help path") | {""},
    moving_options=("--remote-repo-cache", "--config-file"),
    offline_options=("--offline",),
    lockfiles=("cabal.project.freeze",),
    strict=True,
)

STACK = Manager(
    name="stack",
    programs=r"stack",
    # The index and the archives of packages; compilers and libraries are beside them.
    caches=(Cache("~/.stack/pantry", (("STACK_ROOT", "/pantry"),), marks=("stack/pantry",)),),
    sharing="locked",
    idle=word_set("--version clean purge path config exec run") | {""},
    moving_options=("--stack-root",),
    lockfiles=("stack.yaml.lock",),
)

SWIFT = Manager(
    name="swift",
    programs=r"swift",
    # Copies of repositories; what is built is in the project's own folder.
    caches=(
        Cache(
            "~/.cache/org.swift.swiftpm", (("XDG_CACHE_HOME", "/org.swift.swiftpm"),), marks=("swiftpm",), alone=True
        ),
    ),
    sharing="locked",
    uses=word_set("build test package run"),
    cleanups=(("package", "purge-cache"),),
    moving_options=("--cache-path", "--disable-dependency-cache", "--manifest-cache"),
    offline_options=("--disable-automatic-resolution-network",),
    lockfiles=("Package.resolved",),
)

# Caches of compilers: a key of all that an object depends on leads to it. Where they are is known by their variables.
CCACHE = Manager(
    name="ccache",
    programs=r"ccache",
    caches=(Cache("~/.cache/ccache", (("CCACHE_DIR", ""),), marks=("CCACHE_DIR",)),),
    sharing="shared",
    idle=frozenset({""}),
    cleanups=(("-C",), ("--clear",)),
    defeating_variables=("CCACHE_DISABLE",),
)

SCCACHE = Manager(
    name="sccache",
    programs=r"sccache",
    caches=(Cache("~/.cache/sccache", (("SCCACHE_DIR", ""),), marks=("SCCACHE_DIR",)),),
    sharing="shared",
    idle=frozenset({""}),
)

DENO = Manager(
    name="deno",
    programs=r"deno",
    caches=(Cache("/deno-dir", (("DENO_DIR", ""),), marks=("DENO_DIR", "deno-dir")),),
    sharing="shared",
    uses=word_set("cache install add"),
    lockfiles=("deno.lock",),
)
