"""What crates need at run time: libraries of the system, certificates, other programs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from buildopt.dockerfile.managers import word_set

# Crates that bind a library which every slim image has, which they bring along, or which is none of Linux.
_HARMLESS = word_set(
    "advapi32-sys android_log-sys aws-lc-fips-sys aws-lc-sys blake3 boring-sys brotli-sys bzip2-sys clang-sys "
    "cocoa-sys core-foundation-sys core-graphics-sys coreaudio-sys crypt32-sys cryptoki-sys curl-sys dirs-sys "
    "dirs-sys-next dispatch-sys errno-dragonfly fsevent-sys fuchsia-zircon-sys inotify-sys io-kit-sys "
    "io-uring-sys iokit-sys jemalloc-sys jni-sys js-sys kernel32-sys libbz2-rs-sys libdeflate-sys libffi-sys "
    "libgit2-sys libmimalloc-sys libquickjs-sys librocksdb-sys libsodium-sys libsqlite3-sys libssh2-sys "
    "libwebp-sys libz-ng-sys libz-rs-sys libz-sys linux-raw-sys lmdb-master-sys lmdb-rkv-sys lmdb-sys lz4-sys "
    "lzma-sys mdbx-sys miniz-sys mozjpeg-sys mysqlclient-sys ndk-sys netlink-sys objc-sys onig_sys openssl-sys "
    "pq-sys psapi-sys rdkafka-sys redox_syscall rquickjs-sys schannel-sys secp256k1-sys secur32-sys "
    "security-framework-sys snmalloc-sys system-configuration-sys tikv-jemalloc-sys tikv-rocksdb-sys userenv-sys "
    "wasi-sys web-sys winapi-sys windows-sys ws2_32-sys zstd-sys"
)
_BINDS = re.compile(r"(?:^|[-_])sys(?:[-_]|$)|-ffi$")
# Crates that bind libraries or start programs without saying so in their names.
_NEEDY = re.compile(
    r"libxml|ncurses|pancurses|glib|gio|imagemagick.*|libheif.*|krb5.*|maxminddb-sys"
    r"|pyo3|cpython|rust-cpython|opencv|tch|ort|onnxruntime|libduckdb-sys|duckdb|tesseract|leptess|gstreamer.*"
    r"|gtk4?|gdk.*|cairo-rs|pango|webkit2gtk|tauri|wry|tao|ffmpeg.*|rsmpeg|sdl2|glfw|winit|wgpu|vulkano|alsa|cpal"
    r"|rodio|libusb.*|rusb|hidapi|serialport|udev|dbus|pcap|pnet_datalink|rdma|magick_rust|libvips|poppler.*"
    r"|mupdf.*|zmq|libzmq|r2r|rclrs|soapysdr|v4l.*|nokhwa.*|libseat|systemd|libsystemd|odbc-api|oracle"
    r"|tiberius-odbc|sasl2|rsasl-gssapi|libgssapi|cross-krb5|ldap-sys|mlua|rlua|hlua|mozjs|spidermonkey|rusty_v8"
    r"|libvirt|virt|fuse|fuser|polyfuse|openblas-src|blas-src|lapack-src|netlib-src|intel-mkl-src|hdf5|netcdf|gdal"
    r"|proj|geos|libpulse.*|portaudio.*|jack|vosk|whisper-rs|llama.*"
)
# Crates that start programs of an image for building, or that work with sources.
_STARTS = re.compile(
    r"cargo|cargo_metadata|cargo-.*|duct|subprocess|xshell|run_script|cmd_lib|execute|rustc_tools_util|openssh"
    r"|git-testament-x|trunk|wasm-pack|wasm-bindgen-cli|rust-script|evcxr|ra_ap_.*|rustc_version_runtime"
    r"|self_update|async-process|shellfn"
)
_CERTIFICATES = re.compile(
    r"rustls-native-certs|openssl-probe|rustls-platform-verifier|native-tls|openssl-sys|curl-sys|reqwest|ureq|isahc|surf"
)
# Crates of a project without Cargo.lock that are known to bring no library of the system.
_PLAIN = word_set(
    "actix actix-cors actix-files actix-rt actix-web ansi_term anyhow argon2 askama async-std async-trait axum "
    "base64 bcrypt bincode bytes cfg-if chrono clap colored crossbeam csv dashmap derive_more dirs dotenv dotenvy "
    "either env_logger envy fern flate2 futures futures-util getrandom handlebars hashbrown hex hmac http "
    "humantime hyper indexmap indicatif itertools jsonwebtoken lazy_static libc log maplit md5 mime mio nom num "
    "num-bigint num-integer num-traits num_cpus once_cell parking_lot petgraph pest pest_derive pin-project "
    "prettytable-rs rand rand_chacha rayon regex rocket ron rust_decimal serde serde_derive serde_json serde_qs "
    "serde_urlencoded serde_with serde_yaml sha-1 sha1 sha2 simple_logger slab smallvec strum strum_macros "
    "structopt tempfile tera termcolor thiserror time tokio tokio-stream tokio-util toml tonic prost tower "
    "tower-http tracing tracing-subscriber tungstenite tokio-tungstenite unicode-width url uuid walkdir warp validator "
    "utoipa juniper async-graphql void zeroize"
)
# Crates of build scripts that link nothing by themselves.
_BUILDERS = word_set(
    "autocfg built bindgen cc cmake glob prost-build rustc_version tonic-build vergen version_check winres"
)
_SSL = {
    "bullseye": "libssl1.1",
    "bookworm": "libssl3",
    "trixie": "libssl3t64",
    "stable": "openssl",  # whichever version of its library the release has
}
_CURL = {"bullseye": "libcurl4", "bookworm": "libcurl4", "trixie": "libcurl4t64"}


@dataclass(frozen=True, slots=True)
class Crates:
    """``libraries`` are the crates that bind a shared library of the system. ``problem``: why it is not known."""

    libraries: tuple[str, ...] = ()
    certificates: bool = False
    many: bool = False
    problem: str = ""


def crates(
    lock: str | None,
    manifests: Iterable[str],
    installed: Collection[str],
    *,
    full: bool,
    unlisted: Sequence[str] | None = (),
) -> Crates:
    """What the crates of a project need.

    ``lock`` is the text of Cargo.lock, ``manifests`` those of all Cargo.toml, ``installed`` the packages that the build
    stage installs. ``full``: the base image has the -dev packages of many libraries by itself.
    ``unlisted`` are the crates that Cargo.lock lacks, so that cargo makes it anew; None: it does so anyway.
    """
    texts = "\n".join(manifests)
    if lock is None:
        return _unlocked(texts, "there is no Cargo.lock")
    names = set(re.findall(r'^name = "([^"]+)"', lock, re.MULTILINE))
    strange = next((name for name in sorted(names) if _NEEDY.fullmatch(name)), None)
    if strange is not None:
        return Crates(problem=f"{strange} may need libraries that the smaller image lacks")
    unknown = next((name for name in sorted(names) if _BINDS.search(name) and not _is_harmless(name)), None)
    if unknown is not None:
        return Crates(problem=f"{unknown} may be linked with a library that the smaller image lacks")
    starts = next((name for name in sorted(_direct(texts)) if _STARTS.fullmatch(name)), None)
    if starts is not None:
        return Crates(problem=f"{starts} may start programs of the rust image")
    if re.search(r"dynamic[-_]linking|prefer-dynamic", texts):
        return Crates(problem="a crate is asked to be linked dynamically")
    if unlisted is None:
        problem = _unlocked(texts, "cargo writes a Cargo.lock of its own").problem
    elif unlisted:
        problem = _unlocked(texts, f"Cargo.lock does not list {unlisted[0]} as Cargo.toml does", unlisted).problem
    else:
        problem = ""
    if problem:
        return Crates(problem=problem)
    return Crates(
        tuple(sorted(_libraries(names, texts, installed, full=full))),
        any(_CERTIFICATES.fullmatch(name) for name in names),
        len(names) > 1,
    )


def _unlocked(texts: str, why: str, also: Iterable[str] = ()) -> Crates:
    """What the crates need that manifests ask for, where no lock file tells what these bring along."""
    direct = _direct(texts)
    wanted = [*(name for name in also if name not in _BUILDERS), *sorted(direct)]
    strange = next((name for name in wanted if name not in _PLAIN), None)
    if strange is not None:
        return Crates(problem=f"{why}: what {strange} is linked with is not known")
    return Crates(many=bool(direct))


def _is_harmless(name: str) -> bool:
    return name in _HARMLESS or name.startswith(("windows", "winapi", "objc2", "wasm", "wasi", "web-sys", "js-sys"))


def _libraries(names: Collection[str], manifests: str, installed: Collection[str], *, full: bool) -> Iterable[str]:
    """Which crates bind a shared library, because they find it beside the compiler."""
    if "openssl-sys" in names and "openssl-src" not in names:
        yield "openssl-sys"
    if "pq-sys" in names and "pq-src" not in names:
        yield "pq-sys"
    if "mysqlclient-sys" in names and "mysqlclient-src" not in names:
        yield "mysqlclient-sys"
    found = full or "libsqlite3-dev" in installed
    bundled = re.search(r"\bbundled", manifests) or any(re.fullmatch(r"sqlx(?:-sqlite|-core)?", name) for name in names)
    if "libsqlite3-sys" in names and found and not bundled:
        yield "libsqlite3-sys"
    if "curl-sys" in names and (full or any(name.startswith("libcurl") for name in installed)):
        yield "curl-sys"


def packages(libraries: Iterable[str], suite: str) -> list[str] | None:
    """The packages of a Debian release that hold these libraries; None where that is not known."""
    table: Mapping[str, Mapping[str, str]] = {"openssl-sys": _SSL, "curl-sys": _CURL}
    plain = {"pq-sys": "libpq5", "mysqlclient-sys": "libmariadb3", "libsqlite3-sys": "libsqlite3-0"}
    found = []
    for name in libraries:
        if suite not in _SSL:
            return None
        package = plain.get(name) or table[name].get(suite)
        if package is None:
            return None
        found.append(package)
    return sorted(found)


def _direct(manifests: str) -> set[str]:
    """The names of the crates that manifests ask for, by a look at their lines."""
    found: set[str] = set()
    inside = False
    for line in manifests.splitlines():
        heading = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        if heading is not None:
            name = heading.group(1).replace('"', "")
            table = re.search(r"(?:^|\.)dependencies(?:\.([\w-]+))?$", name)
            inside = table is not None and table.group(1) is None
            if table is not None and table.group(1) is not None:
                found.add(table.group(1))
            continue
        entry = re.match(r'\s*"?([\w-]+)"?\s*(?:\.[\w-]+\s*)?=', line) if inside else None
        if entry is not None and not re.search(r"\bpath\s*=", line):
            renamed = re.search(r'\bpackage\s*=\s*"([^"]+)"', line)
            found.add(renamed.group(1) if renamed else entry.group(1))
    return found
