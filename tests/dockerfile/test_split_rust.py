"""Rust files that are split, or refused, told case by case: what the Dockerfile says, and what its context holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildopt.dockerfile.optimize import Optimized, optimize
from buildopt.dockerfile.splits.rust_crates import crates, packages
from buildopt.dockerfile.splits.split_rust import settled_suite
from buildopt.source import Source

MANIFEST = '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n'


def lock(*names: str) -> str:
    return "version = 3\n" + "".join(f'\n[[package]]\nname = "{name}"\nversion = "1.0.0"\n' for name in names)


def split(folder: Path, dockerfile: str, **files: str) -> Optimized:
    """``files``: names with ``__`` for a slash and ``_dot_`` for a dot."""
    for name, text in {"Cargo.toml": MANIFEST, "src__main.rs": "fn main() {}\n", **files}.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return optimize(Source("Dockerfile", dockerfile), folder, only=("split_stages",))


def runtime(result: Optimized) -> list[str]:
    """The words of the second stage. Fails where there is none."""
    assert result.changes, result.refusals
    text = result.source.text
    return text[text.rindex("\nFROM ") :].split()


def reason(result: Optimized) -> str:
    assert not result.changes, result.source.text
    return result.refusals[0].reason


def usual(
    base: str = "rust:1.76",
    build: str = "cargo build --release",
    command: str = 'CMD ["./target/release/app"]',
    before: str = "",
) -> str:
    return f"FROM {base}\n{before}WORKDIR /app\nCOPY . .\nRUN {build}\n{command}\n"


@pytest.mark.parametrize(
    ("base", "image"),
    [
        ("rust:1.76-bookworm", "debian:bookworm-slim"),
        ("rust:1.60-slim-bullseye", "debian:bullseye-slim"),
        ("rust:1.76", "debian:bookworm-slim"),
        ("rust:1.76-slim", "debian:bookworm-slim"),
        ("rust:1.50", "debian:bookworm-slim"),
        ("rust:1.90", "debian:trixie-slim"),
        ("rust", "debian:stable-slim"),
        ("rust:1", "debian:stable-slim"),
        ("rust:slim", "debian:stable-slim"),
        ("rust:1.76-alpine3.19", "alpine:3.19"),
        ("rust:alpine", "alpine:3.22"),
        ("docker.io/library/rust:1.76", "docker.io/library/debian:bookworm-slim"),
    ],
)
def test_the_runtime_image_suits_the_base(tmp_path: Path, base: str, image: str) -> None:
    assert runtime(split(tmp_path, usual(base)))[1] == image


@pytest.mark.parametrize(
    ("base", "package"),
    [
        ("rust:1.60", "libssl1.1"),
        ("rust:1.76", "libssl3"),
        ("rust:1.76-slim", "libssl3"),
        ("rust:1.90", "libssl3t64"),
        ("rust:1.90-bookworm", "libssl3"),
        ("rust:latest", "openssl"),
    ],
)
def test_openssl_is_the_one_of_the_release(tmp_path: Path, base: str, package: str) -> None:
    result = split(tmp_path, usual(base), Cargo_dot_lock=lock("app", "openssl-sys"))
    assert f"--no-install-recommends ca-certificates {package}" in " ".join(runtime(result))


def test_openssl_that_is_compiled_in(tmp_path: Path) -> None:
    result = split(tmp_path, usual(), Cargo_dot_lock=lock("app", "openssl-sys", "openssl-src"))
    words = runtime(result)
    assert "apt-get" not in words
    assert "/etc/ssl/certs/ca-certificates.crt" in words


@pytest.mark.parametrize(
    ("base", "crate", "why"),
    [
        ("rust:1.70", "openssl-sys", "which package of this Debian openssl-sys needs is not known"),
        ("rust:1.60-buster", "openssl-sys", "which package of buster openssl-sys needs is not known"),
        ("rust:1.76", "alsa-sys", "alsa-sys may be linked with a library"),
        ("rust:1.76", "pyo3", "pyo3 may need libraries"),
        ("rust:1.76", "gstreamer-video-sys", "gstreamer-video-sys may"),
    ],
)
def test_libraries_that_are_not_known(tmp_path: Path, base: str, crate: str, why: str) -> None:
    assert why in reason(split(tmp_path, usual(base), Cargo_dot_lock=lock("app", crate)))


@pytest.mark.parametrize(
    ("tag", "libraries", "suite"),
    [("1.35", True, "bullseye"), ("1.69.0", True, "bullseye"), ("1.71", True, "bookworm"), ("1.89", True, "trixie")],
)
def test_releases_of_old_tags(tag: str, libraries: bool, suite: str) -> None:
    assert settled_suite(tag, libraries=libraries) == suite


def test_libraries_by_base_and_features() -> None:
    text = lock("a", "libsqlite3-sys", "curl-sys", "pq-sys", "mysqlclient-sys")
    assert crates(text, [], [], full=True).libraries == ("curl-sys", "libsqlite3-sys", "mysqlclient-sys", "pq-sys")
    assert crates(text, [], [], full=False).libraries == ("mysqlclient-sys", "pq-sys")
    bundled = ['[dependencies]\nrusqlite = { version = "0.31", features = ["bundled"] }\n']
    assert "libsqlite3-sys" not in crates(text, bundled, [], full=True).libraries
    assert packages(["curl-sys", "pq-sys"], "trixie") == ["libcurl4t64", "libpq5"]
    assert packages(["openssl-sys"], "sid") is None


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ("", ""),
        ('[dependencies]\nserde = { version = "1", features = ["derive"] }\n', ""),
        ('[dependencies]\nreqwest = "0.12"\n', "what reqwest is linked with"),
        ('[dependencies.reqwest]\nversion = "0.12"\n', "what reqwest is linked with"),
        ('[dependencies]\nhttp = { package = "reqwest", version = "1" }\n', "what reqwest is linked with"),
        ('[target."cfg(unix)".dependencies]\nnix = "0.27"\n', "what nix is linked with"),
        ('[dependencies]\nmine = { path = "mine" }\n', ""),
    ],
)
def test_projects_without_a_lock_file(manifest: str, why: str) -> None:
    assert why in crates(None, [MANIFEST + manifest], [], full=True).problem


@pytest.mark.parametrize(
    ("build", "command", "shipped"),
    [
        ("cargo build", 'CMD ["target/debug/app"]', "/app/target/debug/app"),
        ("cargo build -r", "CMD ./target/release/app --port 80", "/app/target/release/app"),
        ("cargo build --profile dist", "CMD ./target/dist/app", "/app/target/dist/app"),
        ("cargo build --release --target-dir /out", "CMD /out/release/app", "/out/release/app"),
        ("CARGO_TARGET_DIR=/out cargo build --release", "CMD /out/release/app", "/out/release/app"),
        ("cargo install --path .", 'CMD ["app"]', "/usr/local/cargo/bin/app"),
        ("cargo install --locked --path=. --root /usr/local", 'CMD ["app"]', "/usr/local/bin/app"),
        ("cargo build --release && cp target/release/app /usr/bin/", 'ENTRYPOINT ["app"]', "/usr/bin/app"),
        ("cargo build --release && strip target/release/app && mv target/release/app /x", "CMD /x", "/x"),
        (
            "cargo +nightly build --release --manifest-path ./Cargo.toml",
            "CMD target/release/app",
            "/app/target/release/app",
        ),
    ],
)
def test_where_the_program_goes(tmp_path: Path, build: str, command: str, shipped: str) -> None:
    assert shipped in runtime(split(tmp_path, usual(build=build, command=command)))


@pytest.mark.parametrize(
    ("build", "command"),
    [
        ("cargo build --release --bin other", "CMD ./target/release/app"),
        ("cargo build", "CMD ./target/release/app"),
        ("cargo test --release", "CMD ./target/release/app"),
        ("cargo install ripgrep", 'CMD ["rg"]'),
        ("cargo build --release --examples", "CMD ./target/release/app"),
        ("cargo build --release && rm -rf target", "CMD ./target/release/app"),
        ('RUSTFLAGS="-C prefer-dynamic" cargo build --release', "CMD ./target/release/app"),
        ("cargo build --release --target x86_64-pc-windows-gnu", "CMD ./target/x86_64-pc-windows-gnu/release/app"),
        ("make", "CMD ./target/release/app"),
    ],
)
def test_programs_that_are_not_there(tmp_path: Path, build: str, command: str) -> None:
    assert reason(split(tmp_path, usual(build=build, command=command)))


def test_programs_have_the_names_that_the_manifest_gives_them(tmp_path: Path) -> None:
    manifest = f'{MANIFEST}\n[[bin]]\nname = "server"\npath = "src/main.rs"\n'
    files = {"src__bin__worker.rs": "fn main() {}\n", "src__bin__job__main.rs": "fn main() {}\n"}
    result = split(tmp_path, usual(command='CMD ["./target/release/server"]'), Cargo_dot_toml=manifest, **files)
    words = runtime(result)
    assert {f"/app/target/release/{name}" for name in ("server", "worker", "job")} <= set(words)


def test_data_is_shipped_and_sources_are_not(tmp_path: Path) -> None:
    source = 'fn main() { std::fs::read_to_string("conf/a.toml").unwrap(); }\n'
    files = {"conf__a_dot_toml": "a", "templates__x_dot_html": "x", "tests__t_dot_json": "t", "src__notes_dot_txt": "n"}
    words = runtime(split(tmp_path, usual(), src__main_dot_rs=source, **files))
    assert {"/app/conf", "/app/templates", "/app/src/notes.txt"} <= set(words)
    assert not [word for word in words if word.endswith((".rs", "Cargo.toml")) or word == "/app/tests"]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ('std::process::Command::new("git").status()', "starts git"),
        ("std::process::Command::new(name).status()", "may start programs"),
        ('std::process::Command::new("sh").arg("-c").status()', "starts sh"),
        ('std::env::var("CARGO_HOME")', "may be something of the rust image"),
        ('std::process::Command::new("uname").status()', ""),
        ("{ use std::process::ExitCode; ExitCode::SUCCESS }; Some(1)", ""),
        ("{ use std::process; process::exit(1) }; Some(1)", ""),
        ('{ use std::process as p; p::Command::new("git").status() }', "git"),
        ('{ use std::process::{self as p}; p::Command::new("git").status() }', "git"),
    ],
)
def test_what_sources_start(tmp_path: Path, code: str, why: str) -> None:
    result = split(tmp_path, usual(), src__main_dot_rs=f"fn main() {{ {code}.unwrap(); }}\n")
    assert (why in reason(result)) if why else runtime(result)


def test_a_dummy_program_for_the_dependencies_stays_in_the_build_stage(tmp_path: Path) -> None:
    text = (
        "FROM rust:1.76\nWORKDIR /app\nCOPY Cargo.toml ./\n"
        'RUN mkdir src && echo "fn main() {}" > src/main.rs && cargo build --release && rm -rf src\n'
        'COPY src ./src\nRUN touch src/main.rs && cargo build --release\nCMD ["/app/target/release/app"]\n'
    )
    words = runtime(split(tmp_path, text))
    assert "mkdir" not in words
    assert "/app/target/release/app" in words


def test_the_target_folder_of_a_mount_is_not_in_the_image(tmp_path: Path) -> None:
    build = "--mount=type=cache,target=/app/target cargo build --release && cp target/release/app /bin/app"
    words = runtime(split(tmp_path, usual(build=build, command='CMD ["/bin/app"]')))
    assert "/bin/app" in words
    assert "/app/target/release/app" not in words
    lost = usual(build="--mount=type=cache,target=target cargo build --release")
    assert "the program that is built is removed" in reason(split(tmp_path, lost))


def test_cargo_in_the_container_is_refused(tmp_path: Path) -> None:
    assert "a container runs cargo" in reason(split(tmp_path, usual(command="CMD cargo run --release")))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ('include!(concat!(env!("OUT_DIR"), "/made.rs"));\nfn main() {}\n', ""),
        ('fn main() { std::fs::read(concat!(env!("OUT_DIR"), "/x")).unwrap(); }\n', "names OUT_DIR"),
    ],
)
def test_what_a_build_script_leaves_behind(tmp_path: Path, code: str, why: str) -> None:
    result = split(tmp_path, usual(), src__main_dot_rs=code, build_dot_rs="fn main() {}\n")
    assert (why in reason(result)) if why else runtime(result)


LOCKED = 'version = 3\n\n[[package]]\nname = "app"\nversion = "0.1.0"\n'
MAIN = "fn main() {}\n"
BUILD = "fn main() {{ {} }}\n"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ('#[link(name = "usb-1.0")]\nextern "C" {}\n', "src/main.rs is linked with the library usb-1.0, which the"),
        ('#[link(\n    name = "usb-1.0",\n    kind = "dylib",\n)]\nextern "C" {}\n', "the library usb-1.0"),
        ('#[cfg_attr(unix, link(name = "asound"))]\nextern "C" {}\n', "the library asound"),
        ('#[cfg(target_os = "linux")]\n#[link(name = "udev")]\nextern "C" {}\n', "the library udev"),
        ('#[cfg(any(windows, unix))]\n#[link(name = "udev")]\nextern "C" {}\n', "the library udev"),
        ('#[link(name = "x", modifiers = "+verbatim")]\nextern "C" {}\n', "the library x"),
        ("macro_rules! m { ($l:expr) => { #[link(name = $l)] extern {} } }\n", "only known at build time"),
        ('const Q: char = \'"\';\n#[link(name = "udev")]\nextern {}\n', "the library udev"),
        ('const Q: &str = r#""/*"#;\n#[link(name = "udev")]\nextern {}\n', "the library udev"),
        ('#![feature(raw_dylib_elf)]\n#[link(name = "udev", kind = "raw-dylib")]\nextern {}\n', "the library udev"),
        ('#[link(name = "m")]\nextern "C" {}\n#[link(name = "pthread")]\nextern "C" {}\n', ""),
        ('#[link(name = "udev", kind = "static")]\nextern "C" {}\n', ""),
        ('#[link(name = "Metal", kind = "framework")]\nextern "C" {}\n', ""),
        ('#[link(name = "a.dll", kind = "raw-dylib")]\nextern "C" {}\n', ""),
        ('#[link(name = "user32")]\nextern "C" {}\n', ""),
        ('#[cfg(windows)]\n#[link(name = "other")]\nextern "C" {}\n', ""),
        ('#[link(name = "other")]\n#[cfg(all(target_os = "macos", target_arch = "aarch64"))]\nextern "C" {}\n', ""),
        ('#[cfg_attr(not(unix), link(name = "other"))]\nextern "C" {}\n', ""),
        ('#[link(wasm_import_module = "host")]\nextern "C" {}\n', ""),
        ('// #[link(name = "udev")]\n/* #[link(name = "udev")] */\n', ""),
        ('const TEXT: &str = "#[link(name = x)]";\n', ""),
        ("fn link(a: i32) -> i32 { a }\nfn b() { let _ = [1][link(0) as usize]; }\n", ""),
    ],
)
def test_libraries_that_sources_link(tmp_path: Path, code: str, why: str) -> None:
    result = split(tmp_path, usual(), src__main_dot_rs=code + MAIN, Cargo_dot_lock=LOCKED)
    assert (why in reason(result)) if why else runtime(result)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ('println!("cargo:rustc-link-lib=dylib=usb-1.0");', "build.rs is linked with the library usb-1.0"),
        ('println!("cargo::rustc-link-lib=usb");', "the library usb"),
        ('println!("cargo:rustc-link-lib=dylib:+as-needed=usb");', "the library usb"),
        ('println!("cargo:rustc-link-lib={}", name);', "only known at build time"),
        ('println!("cargo:{}={}", "rustc-link-lib", name);', "only known at build time"),
        ('println!("cargo:rustc-link-search=native=/x\\ncargo:rustc-link-lib=usb");', "the library usb"),
        ('println!("cargo:rustc-flags=-L /usr/lib -l usb");', "the library usb"),
        ('println!("cargo:rustc-link-arg=-lusb");', "the library usb"),
        ('println!("cargo:rustc-link-arg-bins=-Wl,-Bdynamic,-lusb");', "the library usb"),
        ('println!("cargo:rustc-link-arg-bin=app=/usr/lib/libusb.so.1");', "the library libusb.so.1"),
        ('pkg_config::probe_library("libusb-1.0").unwrap();', "only known at build time"),
        ("system_deps::Config::new().probe().unwrap();", "only known at build time"),
        ('println!("cargo:rustc-link-search=/x"); println!("cargo:rustc-link-lib=pq");', "which may be one of its own"),
        ('println!("cargo:rerun-if-changed=build.rs"); println!("cargo:rustc-env=A=B");', ""),
        ('println!("cargo:rustc-link-lib=static={}", name);', ""),
        ('println!("cargo:rustc-link-lib=stdc++"); println!("cargo:rustc-link-lib=dylib=m");', ""),
        ('if cfg!(windows) { println!("cargo:rustc-link-lib=user32"); }', ""),
        ('println!("cargo:rustc-link-arg=-Wl,--gc-sections"); println!("cargo:rustc-link-arg=-fuse-ld=lld");', ""),
        ('println!("cargo:rustc-cdylib-link-arg=-lusb");', ""),
        ('cc::Build::new().file("a.c").compile("a");', ""),
        ('// println!("cargo:rustc-link-lib=usb");\n', ""),
    ],
)
def test_libraries_that_a_build_script_links(tmp_path: Path, code: str, why: str) -> None:
    result = split(tmp_path, usual(), build_dot_rs=BUILD.format(code), Cargo_dot_lock=LOCKED)
    assert (why in reason(result)) if why else runtime(result)


def test_the_build_script_that_the_manifest_names(tmp_path: Path) -> None:
    manifest = f'{MANIFEST}build = "tools/make.rs"\n'
    code = BUILD.format('println!("cargo:rustc-link-lib=usb");')
    assert "tools/make.rs is linked" in reason(
        split(tmp_path, usual(), Cargo_dot_toml=manifest, tools__make_dot_rs=code, Cargo_dot_lock=LOCKED)
    )


@pytest.mark.parametrize("place", ["crates__one", "other"])
def test_libraries_of_members_and_paths(tmp_path: Path, place: str) -> None:
    manifest = f'{MANIFEST}[dependencies]\nother = {{ path = "other" }}\n[workspace]\nmembers = ["crates/*"]\n'
    inner = '[package]\nname = "{}"\nversion = "0.1.0"\n'
    files = {
        "crates__one__Cargo_dot_toml": inner.format("one"),
        "crates__one__src__lib_dot_rs": "",
        "other__Cargo_dot_toml": inner.format("other"),
        "other__src__lib_dot_rs": "",
        "Cargo_dot_toml": manifest,
        "Cargo_dot_lock": LOCKED,
    }
    assert runtime(split(tmp_path, usual(), **files))
    files[f"{place}__build_dot_rs"] = BUILD.format('println!("cargo:rustc-link-lib=usb");')
    assert "build.rs is linked with the library usb" in reason(split(tmp_path, usual(), **files))


def test_libraries_of_tests_are_none_of_the_program(tmp_path: Path) -> None:
    code = '#[link(name = "usb")]\nextern "C" {}\nfn main() {}\n'
    files = {f"{name}__a_dot_rs": code for name in ("tests", "examples", "benches")}
    assert runtime(split(tmp_path, usual(), Cargo_dot_lock=LOCKED, **files))
    manifest = f'{MANIFEST}[[bin]]\nname = "app"\npath = "examples/a.rs"\n'
    result = split(tmp_path, usual(), Cargo_dot_lock=LOCKED, **{**files, "Cargo_dot_toml": manifest})
    assert "examples/a.rs is linked with the library usb" in reason(result)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("ssl", "libssl3"),
        ("crypto", "libssl3"),
        ("pq", "libpq5"),
        ("sqlite3", "libsqlite3-0"),
        ("mariadb", "libmariadb3"),
    ],
)
def test_libraries_whose_package_is_known_are_installed(tmp_path: Path, name: str, package: str) -> None:
    code = f'#[link(name = "{name}")]\nextern "C" {{}}\n{MAIN}'
    assert package in runtime(split(tmp_path, usual(), src__main_dot_rs=code, Cargo_dot_lock=LOCKED))
    script = BUILD.format(f'println!("cargo:rustc-link-lib=dylib={name}");')
    result = split(tmp_path, usual(), src__main_dot_rs=MAIN, build_dot_rs=script, Cargo_dot_lock=LOCKED)
    assert package in runtime(result)


def test_programs_of_musl_hold_their_libraries(tmp_path: Path) -> None:
    code = f'#[link(name = "usb")]\nextern "C" {{}}\n{MAIN}'
    assert runtime(split(tmp_path, usual("rust:1.76-alpine3.19"), src__main_dot_rs=code, Cargo_dot_lock=LOCKED))


@pytest.mark.parametrize(
    ("key", "script", "why"),
    [
        ('links = "usb"', "", "Cargo.toml is linked with the library usb"),
        ('links = "usb"', 'println!("cargo:include=x");', "Cargo.toml is linked with the library usb"),
        ('links = "pthread"', "", ""),
        ('links = "own"', 'cc::Build::new().file("a.c").compile("own");', ""),
    ],
)
def test_libraries_that_the_manifest_names(tmp_path: Path, key: str, script: str, why: str) -> None:
    manifest = f"{MANIFEST}{key}\n"
    files = {"Cargo_dot_toml": manifest, "build_dot_rs": BUILD.format(script), "Cargo_dot_lock": LOCKED}
    result = split(tmp_path, usual(), **files)
    assert (why in reason(result)) if why else runtime(result)


def test_settings_that_link_in_the_place_of_a_build_script(tmp_path: Path) -> None:
    text = '[target.x86_64-unknown-linux-gnu.usb]\nrustc-link-lib = ["usb"]\n'
    result = split(tmp_path, usual(), _dot_cargo__config_dot_toml=text, Cargo_dot_lock=LOCKED)
    assert "decides how the program is built" in reason(result)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ('unsafe { libloading::Library::new("libusb.so.0") };', "main.rs opens the library libusb.so.0, which the"),
        ('unsafe { libc::dlopen(b"libusb.so\\0".as_ptr().cast(), 1) };', "opens the library libusb.so,"),
        ('unsafe { libc::dlopen(c"libusb.so".as_ptr(), 1) };', "opens the library libusb.so,"),
        ("unsafe { libloading::Library::new(name) };", "only known at run time"),
        ('unsafe { libloading::Library::new(libloading::library_filename("usb")) };', "only known at run time"),
        ("use libloading::Library as L; L::new(name);", "only known at run time"),
        ("unsafe { libc::dlopen(std::ptr::null(), 1) };", ""),
        ('unsafe { libloading::Library::new("libc.so.6") };', ""),
        ('unsafe { libloading::Library::new("kernel32.dll") };', ""),
        ("let books = Library::new(3);", ""),
        ('// libloading::Library::new("libusb.so")\n', ""),
    ],
)
def test_libraries_that_sources_open(tmp_path: Path, code: str, why: str) -> None:
    result = split(tmp_path, usual(), src__main_dot_rs=BUILD.format(code), Cargo_dot_lock=LOCKED)
    assert (why in reason(result)) if why else runtime(result)


@pytest.mark.parametrize(
    ("manifest", "listed", "why"),
    [
        ('[dependencies]\nnix = "0.27"\n', (), "Cargo.lock does not list nix as Cargo.toml does: what nix is linked"),
        ('[dependencies]\nserde = "1"\nnix = "0.27"\n', ("nix",), "does not list nix"),
        ('[dependencies]\nserde = "1"\nnix = "1"\n', ("nix",), "does not list serde as Cargo.toml does: what nix is"),
        ('[dependencies.nix]\nversion = "1"\n', (), "does not list nix"),
        ("[target.'cfg(unix)'.dependencies]\nnix = \"1\"\n", (), "does not list nix"),
        ('[build-dependencies]\nnix = "1"\n', (), "does not list nix"),
        ('[dependencies]\nother = { package = "nix", version = "1" }\n', ("other",), "does not list nix"),
        ('[dependencies]\nnix = { version = "1", optional = true }\n', (), "does not list nix"),
        ('[dependencies]\nnix.workspace = true\n[workspace.dependencies]\nnix = "1"\n', (), "does not list nix"),
        ('[dependencies]\nnix = "=1.0.1"\n', ("nix",), "does not list nix"),
        ('[dependencies]\nnix = "2"\n', ("nix",), "does not list nix"),
        ('[dependencies]\nnix = "1.2"\n', ("nix",), "does not list nix"),
        ('[dependencies]\nserde = "1"\n', (), ""),
        ('[dependencies]\nnix = "1"\n', ("nix",), ""),
        ('[dependencies]\nnix = "^1.0"\n', ("nix",), ""),
        ('[dependencies]\nnix = ">=2, <1"\n', ("nix",), ""),
        ('[dependencies]\nnix = { git = "https://example.com/nix", version = "2" }\n', ("nix",), ""),
        ('[dependencies]\nother = { package = "nix", version = "1" }\n', ("nix",), ""),
        ('[dev-dependencies]\nnix = "1"\n', (), ""),
        ('[dependencies]\nnix.workspace = true\n[workspace.dependencies]\nnix = "1"\n', ("nix",), ""),
        ('[workspace]\n[workspace.dependencies]\nnix = "1"\n', (), ""),
    ],
)
def test_lock_files_that_lag_behind(tmp_path: Path, manifest: str, listed: tuple[str, ...], why: str) -> None:
    files = {"Cargo_dot_toml": MANIFEST + manifest, "Cargo_dot_lock": lock("app", *listed)}
    result = split(tmp_path, usual(), **files)
    assert (why in reason(result)) if why else runtime(result)
    for flag in ("--locked", "--frozen"):
        assert runtime(split(tmp_path, usual(build=f"cargo build --release {flag}"), **files))


def test_lock_files_that_lag_behind_a_member(tmp_path: Path) -> None:
    inner = '[package]\nname = "one"\nversion = "0.1.0"\n[dependencies]\nnix = "1"\n'
    files = {
        "Cargo_dot_toml": f'{MANIFEST}[workspace]\nmembers = ["one"]\n',
        "one__Cargo_dot_toml": inner,
        "one__src__lib_dot_rs": "",
        "Cargo_dot_lock": lock("app", "one"),
    }
    assert "does not list nix" in reason(split(tmp_path, usual(), **files))
    assert runtime(split(tmp_path, usual(), **{**files, "Cargo_dot_lock": lock("app", "one", "nix")}))


@pytest.mark.parametrize("command", ["cargo update", "cargo generate-lockfile", "rm -f Cargo.lock"])
def test_lock_files_that_are_made_anew(tmp_path: Path, command: str) -> None:
    files = {"Cargo_dot_toml": f'{MANIFEST}[dependencies]\nnix = "1"\n', "Cargo_dot_lock": lock("app", "nix")}
    result = split(tmp_path, usual(build=f"{command} && cargo build --release"), **files)
    assert "cargo writes a Cargo.lock of its own: what nix is linked with is not known" in reason(result)


def test_lock_files_that_are_copied_after_they_were_removed(tmp_path: Path) -> None:
    files = {"Cargo_dot_toml": f'{MANIFEST}[dependencies]\nnix = "1"\n', "Cargo_dot_lock": lock("app", "nix")}
    result = split(tmp_path, usual(before="WORKDIR /app\nRUN cargo init && rm Cargo.lock\n"), **files)
    assert runtime(result)


def test_the_lock_file_of_another_folder_does_not_count(tmp_path: Path) -> None:
    files = {"Cargo_dot_toml": f'{MANIFEST}[dependencies]\nnix = "1"\n', "old__Cargo_dot_lock": lock("app", "nix")}
    assert "cargo writes a Cargo.lock of its own" in reason(split(tmp_path, usual(), **files))
