"""What is known of Go modules: which are pure Go, which need something of the golang image at run time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

# Modules without C, that start no programs and need no file of the image.
_PURE = tuple(
    """golang.org/x/ google.golang.org/ go.uber.org/ go.opentelemetry.io/ go.mongodb.org/mongo-driver gorm.io/gorm
    gorm.io/driver/mysql gorm.io/driver/postgres gopkg.in/yaml. gopkg.in/ini.v1 gopkg.in/check.v1 modernc.org/
    github.com/gin-gonic/ github.com/gin-contrib/ github.com/gorilla/ github.com/labstack/ github.com/go-chi/
    github.com/gofiber/ github.com/valyala/fast github.com/valyala/bytebufferpool github.com/valyala/tcplisten
    github.com/julienschmidt/httprouter github.com/sirupsen/logrus
    github.com/rs/ github.com/spf13/ github.com/google/uuid github.com/google/go-cmp github.com/pkg/errors
    github.com/stretchr/ github.com/davecgh/go-spew github.com/pmezard/go-difflib github.com/prometheus/
    github.com/beorn7/perks github.com/cespare/xxhash github.com/golang/protobuf github.com/golang/snappy
    github.com/golang-jwt/ github.com/dgrijalva/jwt-go github.com/jackc/ github.com/lib/pq
    github.com/go-sql-driver/mysql github.com/jmoiron/sqlx github.com/jinzhu/ github.com/redis/go-redis
    github.com/go-redis/ github.com/gomodule/redigo github.com/klauspost/ github.com/json-iterator/go
    github.com/modern-go/ github.com/goccy/ github.com/bytedance/sonic github.com/cloudwego/ github.com/ugorji/go
    github.com/twitchyliquid64/golang-asm github.com/pelletier/go-toml github.com/mattn/go-isatty
    github.com/mattn/go-colorable github.com/mattn/go-runewidth github.com/leodido/go-urn github.com/go-playground/
    github.com/gabriel-vasile/mimetype github.com/joho/godotenv github.com/kelseyhightower/envconfig
    github.com/caarlos0/env github.com/urfave/cli github.com/fatih/color github.com/hashicorp/golang-lru
    github.com/hashicorp/hcl github.com/hashicorp/errwrap github.com/hashicorp/go-multierror
    github.com/cenkalti/backoff github.com/andybalholm/brotli github.com/philhofer/fwd github.com/tinylib/msgp
    github.com/rivo/uniseg github.com/inconshreveable/mousetrap github.com/fsnotify/fsnotify
    github.com/magiconair/properties github.com/mitchellh/mapstructure github.com/go-viper/mapstructure
    github.com/subosito/gotenv github.com/sagikazarmark/ github.com/sourcegraph/conc github.com/kr/pretty
    github.com/kr/text github.com/rogpeppe/go-internal github.com/felixge/httpsnoop github.com/go-logr/
    github.com/chenzhuoyu/ github.com/montanaflynn/stats github.com/xdg-go/ github.com/youmark/pkcs8
    filippo.io/edwards25519 github.com/dustin/go-humanize github.com/remyoudompheng/bigfft
    github.com/ncruces/go-strftime github.com/munnerz/goautoneg github.com/matttproud/golang_protobuf_extensions
    github.com/cpuguy83/go-md2man github.com/russross/blackfriday github.com/xrash/smetrics
    github.com/segmentio/kafka-go github.com/pierrec/lz4 github.com/dgryski/go-rendezvous""".split()  # noqa: SIM905
)

# What starts programs of the golang image (git, hg, go, gcc, ssh, curl, ps) or reads files of the module cache.
_NEEDY = re.compile(
    "|".join(
        (
            r"(?:^|/)(?:go-)?git(?:-\w+)*(?:$|[/.])|^code\.gitea\.io/git|gogs/git|libgit2|git2go",
            r"hashicorp/(?:go-getter|go-plugin|terraform|hc-install|packer|nomad|vagrant)|Masterminds/vcs|mercurial",
            r"golang\.org/x/(?:tools/(?:go/(?:packages|loader|vcs)|cmd)|mobile|perf)|traefik/yaegi|cosmos72/gomacro",
            r"magefile/mage|go-delve|air-verse|cosmtrek|gopls|goreleaser|golangci|securego/gosec|dominikh/go-tools",
            r"prisma-client-go|revel/|gobuffalo/(?:buffalo|packr|pop)|wasmer|wasmvm|onnxruntime|tensorflow|libtorch",
            r"gojieba|go-ego/|sego$|gonum\.org/v1/plot|gonum/plot|llgcode/draw2d|goki/|oto/|portaudio|playwright",
            r"ebiten|faiface/|go-gl/|fyne\.io|gioui|veandco/|therecipe/qt|webview|systray|robotgo|gotk|gocv|opencv",
            r"h2non/bimg|govips|imagick|gographics|gosseract|godror|go-oci8|go-hdb|ibmdb|alexbrainman/odbc|zmq4|pebbe",
            r"google/gopacket|gopacket/|netfilter|seccomp|libvirt|go-ceph|gorocksdb|grocksdb|rpm-|go-rpm|wkhtmltopdf",
            r"moby/buildkit|containers/(?:image|storage|buildah|podman)|opencontainers/runc|kubernetes/kubernetes",
            r"k8s\.io/(?:kubernetes|code-generator|gengo)|sigs\.k8s\.io/(?:kind|kustomize)|rclone|restic|caddyserver/",
            r"pdfcpu-|unidoc/unioffice|go-fonts|systemstat|sshpass|go-ssh-agent|ssh-client|goexec|go-sh$|script$|pipe$",
        )
    )
)
_TOOLCHAIN = r"golang\.org/x/tools/(?:go/(?:packages|loader|vcs|analysis)|cmd|gopls)|go/packages$"
# Programs for developers: they count only where the sources import them.
_DEVELOPERS = re.compile(r"magefile|go-delve|air-verse|cosmtrek|gopls|goreleaser|golangci|gosec|go-tools|mobile|perf$")
# C of their own that is built into the program and needs the C library alone.
_BUNDLED_C = tuple(
    """github.com/mattn/go-sqlite3 gorm.io/driver/sqlite github.com/confluentinc/confluent-kafka-go
    github.com/chai2010/webp github.com/DataDog/zstd github.com/valyala/gozstd github.com/ethereum/go-ethereum
    github.com/kolesa-team/go-webp github.com/bytecodealliance/wasmtime-go github.com/mattn/go-sqlite
    github.com/tree-sitter/ github.com/smacker/go-tree-sitter""".split()  # noqa: SIM905
)
# Modules that look time zones up by name.
_ZONES = re.compile(
    r"cron|mysql|/pq$|jackc/|carbon|jinzhu/now|clickhouse|timeutil|gorm\.io|ical|rrule|tzlocal|timezone|schedule"
    r"|spf13/cast|labstack|gofiber|mongo|graphql|bigquery|dateparse|strftime|moment"
)


def is_pure(module: str) -> bool:
    """Whether a module is known to be Go alone, and to start nothing."""
    return module.startswith(_PURE)


def needy(modules: Iterable[str], imports: Collection[str]) -> str | None:
    """The first module that is known, or by its name likely, to need more than the slim image has."""
    for module in modules:
        if is_pure(module) or not _NEEDY.search(module):
            continue
        if not _DEVELOPERS.search(module) or any(name.startswith(module) for name in imports):
            return module
    return None


def bundles_c(module: str) -> bool:
    """Whether a module's C code is known to need nothing but the C library."""
    return module.startswith(_BUNDLED_C)


def knows_zones(modules: Iterable[str]) -> bool:
    """Whether one of the modules may look up a time zone by its name."""
    return any(_ZONES.search(module) or not is_pure(module) for module in modules)


def needy_import(imports: Iterable[str]) -> str | None:
    """The first package that is known to need a toolchain."""
    return next((name for name in sorted(imports) if re.match(_TOOLCHAIN, name)), None)
