"""The managers of Python, JavaScript, PHP and Ruby: what they cache is unpacked or copied before it is used."""

from __future__ import annotations

from buildopt.dockerfile.manager import Cache, Manager, Portable, word_set

PIP = Manager(
    name="pip",
    programs=r"pip[0-9.]*",
    caches=(
        Cache(
            "~/.cache/pip",
            (("PIP_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/pip")),
            Portable.DISTRIBUTION,  # it keeps wheels that were built here, linked to this distribution's libraries
            (".cache/pip", "cache dir"),
            alone=True,
        ),
    ),
    sharing="shared",
    uses=word_set("install download wheel"),
    cleanups=(("cache", "purge"),),
    defeating_options=("--no-cache-dir", "--no-cache"),
    defeating_variables=("PIP_NO_CACHE_DIR",),
    moving_options=("--cache-dir",),
    valued=word_set("--proxy --retries --timeout --log --cert --client-cert --cache-dir --python --trusted-host"),
    lockfiles=("requirements.txt", "constraints.txt"),
    configured_by=r"\.?pip\.(?:conf|ini)",
    configures=r"(?m)^\s*(?:no-)?cache-dir\s*=",
)

UV = Manager(
    name="uv",
    programs=r"uv|uvx",
    caches=(
        Cache(
            "~/.cache/uv",
            (("UV_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/uv")),
            Portable.DISTRIBUTION,
            (".cache/uv", "cache dir"),
            alone=True,
        ),
    ),
    sharing="shared",
    uses=word_set("pip sync add lock run tool build export"),
    cleanups=(("cache", "clean"), ("cache", "prune")),
    defeating_options=("--no-cache", "--no-cache-dir", "-n"),
    defeating_variables=("UV_NO_CACHE",),
    moving_options=("--cache-dir",),
    valued=word_set("--cache-dir --directory --project --config-file --color"),
    lockfiles=("uv.lock",),
    offline=("UV_OFFLINE",),
    offline_options=("--offline",),
    configured_by=r"uv\.toml",
    configures=r"(?m)^\s*(?:cache-dir|no-cache|offline|link-mode)\s*=",
)

POETRY = Manager(
    name="poetry",
    programs=r"poetry",
    # Only these two: its virtual environments live beside them.
    caches=tuple(
        Cache(
            f"~/.cache/pypoetry/{name}",
            (("POETRY_CACHE_DIR", f"/{name}"), ("XDG_CACHE_HOME", f"/pypoetry/{name}")),
            Portable.DISTRIBUTION,
            (f"pypoetry/{name}", "POETRY_CACHE_DIR"),
        )
        for name in ("cache", "artifacts")
    ),
    sharing="shared",
    uses=word_set("install add update lock sync self export"),
    cleanups=(("cache", "clear"),),
    defeating_options=("--no-cache",),
    valued=word_set("-C --directory -P --project"),
    lockfiles=("poetry.lock",),
    starts=word_set("run shell env version show check"),
    configured_by=r"poetry\.toml|config\.toml",
    configures=r"(?m)^\s*cache-dir\s*=",
)

PDM = Manager(
    name="pdm",
    programs=r"pdm",
    caches=(
        Cache(
            "~/.cache/pdm",
            (("PDM_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/pdm")),
            Portable.DISTRIBUTION,
            (".cache/pdm",),
            alone=True,
        ),
    ),
    sharing="shared",
    uses=word_set("install sync add update lock build export"),
    cleanups=(("cache", "clear"),),
    defeating_variables=("PDM_NO_CACHE",),
    defeating_options=("--no-cache",),
    valued=word_set("-p --project -c --config"),
    lockfiles=("pdm.lock",),
    starts=word_set("run info show list"),
    configured_by=r"\.?pdm\.toml",
    configures=r"cache",
)

PIPENV = Manager(
    name="pipenv",
    programs=r"pipenv",
    caches=(
        Cache(
            "~/.cache/pipenv",
            (("PIPENV_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/pipenv")),
            Portable.DISTRIBUTION,
            (".cache/pipenv",),
            alone=True,
        ),
    ),
    sharing="shared",
    uses=word_set("install sync lock update upgrade uninstall"),
    defeating_options=("--clear",),
    defeating_variables=("PIP_NO_CACHE_DIR",),
    valued=word_set("--python --pypi-mirror"),
    lockfiles=("Pipfile.lock",),
    starts=word_set("run shell"),
)

CONDA = Manager(
    name="conda",
    programs=r"conda|mamba|micromamba",
    # Environments live elsewhere. What is installed is linked from here where that can be, else copied.
    caches=(Cache("/opt/conda/pkgs", (("CONDA_PKGS_DIRS", ""),), marks=("conda/pkgs", "miniconda3/pkgs")),),
    sharing="locked",
    uses=word_set("install create update upgrade remove uninstall env"),
    cleanups=(("clean",),),
    valued=word_set("-n --name -p --prefix --root-prefix -r"),
    offline_options=("--offline", "--use-local", "--download-only"),
    starts=word_set("run activate shell info list init"),
    configured_by=r"\.?(?:conda|mamba)rc",
    configures=r"pkgs_dirs|always_softlink|allow_softlinks|offline",
)

NPM = Manager(
    name="npm",
    programs=r"npm",
    caches=(
        Cache("~/.npm", (("npm_config_cache", ""), ("NPM_CONFIG_CACHE", "")), marks=(".npm/", "config get cache")),
    ),
    sharing="shared",
    uses=word_set(
        "install i in ins inst isntall add ci clean-install ic install-clean isntall-clean update up upgrade udpate "
        "install-test it install-ci-test cit rebuild rb dedupe ddp"
    ),
    cleanups=(("cache", "clean"), ("cache", "clear"), ("cache", "rm")),
    moving_options=("--cache",),
    valued=word_set("--prefix -C --registry --loglevel --cache --userconfig -w --workspace --omit --include"),
    lockfiles=("package-lock.json", "npm-shrinkwrap.json"),
    offline=("--offline",),
    starts=word_set("start run run-script test"),
    configured_by=r"\.?npmrc",
    configures=r"(?m)^\s*(?:cache|offline)\s*=",
)

YARN = Manager(
    name="yarn",
    programs=r"yarn|yarnpkg",
    # Yarn 1. For root it is not below the home folder.
    caches=(
        Cache(
            "~/.cache/yarn",
            (("YARN_CACHE_FOLDER", ""), ("yarn_cache_folder", ""), ("XDG_CACHE_HOME", "/yarn")),
            marks=(".cache/yarn", "yarn-cache", "cache dir"),
        ),
    ),
    sharing="locked",
    uses=word_set("install add upgrade global import autoclean remove") | {""},
    cleanups=(("cache", "clean"),),
    moving_options=("--cache-folder",),
    valued=word_set("--cwd --cache-folder --network-timeout --registry --modules-folder --mutex --network-concurrency"),
    lockfiles=("yarn.lock",),
    offline=("--offline",),
    starts=word_set("start run exec test serve dev node workspace") | {"preview"},
    configured_by=r"\.yarnrc(?:\.yml)?|\.?npmrc",
    configures=r"(?m)^\s*\"?(?:(?:yarn-offline|cache-folder|--(?:install\.)?cache-folder|yarn-path)|yarnPath:|nodeLinker:)",
)

PNPM = Manager(
    name="pnpm",
    programs=r"pnpm",
    caches=(
        Cache(
            "~/.local/share/pnpm/store",
            (
                ("npm_config_store_dir", ""),
                ("NPM_CONFIG_STORE_DIR", ""),
                ("pnpm_config_store_dir", ""),
                ("PNPM_HOME", "/store"),
                ("XDG_DATA_HOME", "/pnpm/store"),
            ),
            Portable.DISTRIBUTION,  # it keeps what packages have compiled
            ("pnpm/store", "pnpm-store", "store path"),
        ),
    ),
    sharing="shared",
    uses=word_set("install i add fetch update up upgrade deploy prune rebuild rb import ci clean-install remove rm"),
    cleanups=(("store", "prune"),),
    moving_options=("--store-dir", "--config.store-dir", "--virtual-store-dir"),
    valued=word_set("--dir -C --filter -F --store-dir --prefix --reporter --loglevel"),
    lockfiles=("pnpm-lock.yaml",),
    offline=("--offline",),
    starts=word_set("start run run-script exec test serve dev preview node"),
    configured_by=r"\.?npmrc|pnpm-workspace\.yaml",
    configures=r"(?m)^\s*(?:store-dir|storeDir|package-import-method|packageImportMethod|enable-global-virtual-store"
    r"|enableGlobalVirtualStore|offline)\s*[=:]",
)

BUN = Manager(
    name="bun",
    programs=r"bun",
    caches=(
        Cache(
            "~/.bun/install/cache",
            (
                ("BUN_INSTALL_CACHE_DIR", ""),
                ("BUN_INSTALL", "/install/cache"),
                ("XDG_CACHE_HOME", "/.bun/install/cache"),
            ),
            marks=(".bun/install", "pm cache"),
        ),
    ),
    sharing="shared",
    uses=word_set("install i add ci update remove rm"),
    cleanups=(("pm", "cache", "rm"),),
    defeating_options=("--no-cache",),
    moving_options=("--cache-dir",),
    valued=word_set("--cwd -c --config"),
    lockfiles=("bun.lock", "bun.lockb"),
    offline=("--offline",),
    starts=word_set("run start test dev serve"),
    configured_by=r"\.?bunfig\.toml",
    configures=r"\[install\.cache\]|backend|linker",
)

COMPOSER = Manager(
    name="composer",
    programs=r"composer(\.phar)?",
    caches=(
        Cache(
            "~/.composer/cache",
            (("COMPOSER_CACHE_DIR", ""), ("COMPOSER_HOME", "/cache")),
            marks=("composer/cache", "COMPOSER_CACHE_DIR"),
        ),
    ),
    sharing="shared",
    uses=word_set("install i update upgrade u require req r remove create-project"),
    cleanups=(("clear-cache",), ("clearcache",), ("cc",)),
    defeating_options=("--no-cache",),
    valued=word_set("-d --working-dir"),
    lockfiles=("composer.lock",),
    offline=("COMPOSER_DISABLE_NETWORK",),
    starts=word_set("run run-script exec dump-autoload dumpautoload"),
)

BUNDLER = Manager(
    name="bundler",
    programs=r"bundle|bundler|gem",
    # Archives of gems; the gems themselves are beside it.
    caches=(Cache("/usr/local/bundle/cache", (("GEM_HOME", "/cache"),), marks=("bundle/cache",)),),
    sharing="locked",
    uses=word_set("install update i"),
    lockfiles=("Gemfile.lock",),
    offline_options=("--local", "--no-install"),
    starts=word_set("exec config check list show info"),
    configured_by=r"bundle|\.?gemrc",
    configures=r"(?i)path|deployment|gemhome|gempath|cache",
)
