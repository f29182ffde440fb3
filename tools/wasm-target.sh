#!/bin/bash
# Finds or makes a compiler for wasm32-unknown-unknown. Prints, on its standard output, the variables
# that cargo needs for it (perhaps none); what it does goes to standard error.
#
# Order: the compiler has the target; an earlier run made a sysroot; root on a Debian that carries
# rustc-web; rustup.
set -euo pipefail
. "$(dirname "$0")/env.sh"

target=wasm32-unknown-unknown
sources=/usr/lib/rustlib/src/rust/library/std/Cargo.toml

has_target() { compgen -G "$("$@" --print sysroot)/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null; }

# Debian's compiler, if it is the one whose library sources are installed too.
debian_sysroot() {
    [ -e "$sources" ] && /usr/bin/rustc -V >/dev/null 2>&1 || return 1
    printf '%s/wasm-sysroot/%s' "$cache" "$(/usr/bin/rustc -V | tr -c 'a-zA-Z0-9.\n' '_')"
}

# rustup's linker; Debian's compiler package brings none for this target.
linker() {
    compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/rust-lld" | head -n 1 ||
        command -v wasm-ld || compgen -G '/usr/bin/wasm-ld-*' | head -n 1
}

print_variables() {
    local found
    found=$(linker)
    [ -n "$found" ] || die "no linker for $target: \`apt-get install lld\` installs one"
    printf 'export RUSTC=%q CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=%q\n' "$1/rustc" "$found"
}

# The standard library is built once for each compiler version and moved into place whole, so that an
# interrupted run leaves nothing half made.
build_sysroot() {
    local sysroot=$1 host
    host=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
    mkdir -p "$(dirname "$sysroot")"
    work=$(mktemp -d "$sysroot.XXXXXX")
    trap 'rm -rf "${work:-}"' EXIT
    mkdir -p "$work/std/src" "$work/out/lib/rustlib/$target/lib"
    : >"$work/std/src/lib.rs"
    printf '[package]\nname = "std-for-wasm"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' >"$work/std/Cargo.toml"
    (
        cd "$work/std"
        # Bitcode in the library is what lets rules be optimised across crates.
        export CARGO_ENCODED_RUSTFLAGS=-Cembed-bitcode=yes$'\x1f'"--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
        RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$work/target \
            cargo build --release -Zbuild-std=std,panic_abort --target "$target" >&2
    )
    find "$work/target/$target/release/deps" -name '*.rlib' ! -name 'libstd_for_wasm*' \
        -exec cp {} "$work/out/lib/rustlib/$target/lib/" \;
    # Build scripts and procedural macros need the host's library as well.
    ln -s "/usr/lib/rustlib/$host" "$work/out/lib/rustlib/$host"
    printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot %q "$@"\n' "$sysroot" >"$work/out/rustc"
    chmod +x "$work/out/rustc"
    rm -rf "$sysroot"
    mv "$work/out" "$sysroot"
}

# No pipe: `grep -q` would leave early, and apt-cache, which minds, would fail the pipeline.
debian_has() { [[ $(apt-cache show --no-all-versions "$1" 2>/dev/null) == Package:* ]]; }

install_debian_compiler() {
    say "Installing rustc-web and rust-web-src by apt (about 760 MB on disk, LLVM included): a compiler with sources for $target"
    debian_has rustc-web || apt-get update -qq >&2
    debian_has rustc-web || return 1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends \
        rustc-web rust-web-src >&2
}

if has_target rustc; then
    exit 0
fi

if sysroot=$(debian_sysroot) && [ -x "$sysroot/rustc" ] && has_target "$sysroot/rustc"; then
    print_variables "$sysroot"
    exit 0
fi

if [ -e /etc/debian_version ] && { debian_sysroot >/dev/null || { [ "$(id -u)" = 0 ] && install_debian_compiler; }; }; then
    sysroot=$(debian_sysroot) || die "rustc-web is installed, but its sources are not at $sources"
    say "Building the standard library for $target with $(/usr/bin/rustc -V | cut -d' ' -f1-2), about a minute (once)"
    build_sysroot "$sysroot"
    print_variables "$sysroot"
    exit 0
fi

if command -v rustup >/dev/null && [ "${RUSTUP_AUTO_INSTALL:-1}" != 0 ]; then
    say "Installing the target $target: rustup target add $target"
    if rustup target add "$target" >&2 && has_target rustc; then
        exit 0
    fi
fi

die "the rules need a compiler for $target, and none could be installed. Either
  rustup target add $target                            (any system, as yourself), or
  apt-get install --no-install-recommends rustc-web rust-web-src   and then \`make setup\`   (Debian 12 or later, as root)"
