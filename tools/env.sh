# Sourced by every script here: where build output goes, which compiler is used, how we talk.
# Does not install or build anything.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/millrace
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
case $CARGO_TARGET_DIR in /*) ;; *) CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR ;; esac

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Before a compiler of the distribution's, which may be installed for the Wasm target only: rustup's own
# order, whatever this shell's is.
[ ! -x "${CARGO_HOME:-${HOME:-}/.cargo}/bin/rustc" ] || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
command -v cargo >/dev/null || die "no cargo found; install it from https://rustup.rs"

# Where rustup may not download and has the pinned compiler under another name only, take that one.
pinned=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
if [ "${RUSTUP_AUTO_INSTALL:-1}" = 0 ] && ! rustc -V >/dev/null 2>&1; then
    case $(RUSTUP_TOOLCHAIN=stable rustc -V 2>/dev/null) in
        "rustc $pinned "*) export RUSTUP_TOOLCHAIN=stable ;;
        *) die "the compiler $pinned is missing; \`rustup toolchain install $pinned\` installs it" ;;
    esac
fi

# Says once, before a build, how long it is going to take.
announce_build() {
    if compgen -G "$CARGO_TARGET_DIR/release/deps/libwasmtime-*.rlib" >/dev/null; then
        say "Building $1 in $CARGO_TARGET_DIR (dependencies are there: usually a minute or two)"
    else
        say "Building $1 in $CARGO_TARGET_DIR from nothing: about 10 minutes on 2 cores (once)"
    fi
}
