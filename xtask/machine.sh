# What `quickstart` and `run_tests` ask of the machine they run on: packages and a Rust toolchain, from the machine's
# own package sources. Sourced, not run; the caller has set TOP to the top of the tree.
# shellcheck shell=bash

# The oldest compiler that Cargo.toml allows (rust-version).
RUST_MIN=1.85
STATE=${CARGO_TARGET_DIR:-$TOP/target}
# What we installed, so that `quickstart --down` can say how to take it away again.
INSTALLED=$STATE/installed-packages
APT_LOG=$STATE/apt.log

say() { printf '%s\n' "$*"; }

fail() {
  printf '\n%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# need_debian: nothing below works elsewhere.
need_debian() {
  command -v apt-get >/dev/null 2>&1 ||
    fail "this needs Debian 12, Ubuntu 24.04 or newer: run it in a virtual machine with one of them"
}

# need_root WHY: processes, mounts and network links of machines need it.
need_root() {
  [ "$(id -u)" = 0 ] && return
  if command -v sudo >/dev/null 2>&1; then
    fail "$1 needs root: run it again as  sudo ./${0##*/}"
  fi
  fail "$1 needs root: become root with  su -  , go to $TOP and run ./${0##*/} again"
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '^(none)$'; }

apt_updated=
apt_update() {
  [ -n "$apt_updated" ] && return
  mkdir -p "$STATE"
  DEBIAN_FRONTEND=noninteractive apt-get -q update >>"$APT_LOG" 2>&1 ||
    fail "cannot refresh the package lists; the end of $APT_LOG: $(tail -n 3 "$APT_LOG" | tr '\n' ' ')"
  apt_updated=1
}

# need_packages PACKAGE...: installs those that are missing, and starts none of their services.
need_packages() {
  local package missing=()
  for package in "$@"; do
    installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || fail "these packages are missing, and installing them needs root: ${missing[*]}"
  say "Installing ${missing[*]}"
  apt_update
  # A database server on the developer's own machine is not what anybody asked for: the tests start their own.
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && ours=1
  fi
  local code=0
  DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
    install "${missing[@]}" >>"$APT_LOG" 2>&1 || code=$?
  [ -z "$ours" ] || rm -f "$policy"
  [ "$code" = 0 ] ||
    fail "cannot install ${missing[*]}; the end of $APT_LOG: $(grep -E '^(E:|W:|Err)' "$APT_LOG" | tail -n 3 | tr '\n' ' ')"
  printf '%s\n' "${missing[@]}" >>"$INSTALLED"
}

at_least() { [ -n "$1" ] && dpkg --compare-versions "$1" ge "$2"; }

rust_version() { rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9.]*\).*/\1/p'; }

have_rust() { command -v cargo >/dev/null 2>&1 && at_least "$(rust_version)" "$RUST_MIN"; }

# A toolchain that is there but not on the PATH: rustup's, or one of Ubuntu's versioned packages.
find_rust() {
  local folder
  have_rust && return
  for folder in "$HOME/.cargo/bin" $(printf '%s\n' /usr/lib/rust-*/bin | sort -rV); do
    if [ -x "$folder/cargo" ] && at_least "$("$folder/rustc" --version 2>/dev/null | cut -d' ' -f2)" "$RUST_MIN"; then
      PATH=$folder:$PATH
      return
    fi
  done
  return 1
}

# need_rust: a compiler that is new enough, from the machine's packages where there is none.
need_rust() {
  local version
  need_packages gcc libc6-dev ca-certificates
  if ! find_rust; then
    say "No Rust $RUST_MIN or newer here"
    apt_update
    if at_least "$(candidate cargo)" "$RUST_MIN"; then
      need_packages cargo rustc
    elif at_least "$(candidate cargo-web)" "$RUST_MIN"; then
      # Debian keeps a current compiler for its browsers beside the one it was released with; they exclude each other.
      need_packages cargo-web rustc-web
    else
      version=$(apt-cache pkgnames cargo-1. | sed -n 's/^cargo-\(1\.[0-9]*\)$/\1/p' | sort -rV | head -n 1)
      if at_least "$version" "$RUST_MIN"; then
        need_packages "cargo-$version" "rustc-$version"
      elif [ -n "$(candidate rustup)" ]; then
        need_packages rustup
        rustup default stable >>"$APT_LOG" 2>&1 || fail "cannot get a toolchain through rustup; see $APT_LOG"
      fi
    fi
    hash -r
    find_rust || fail "no package source of this machine has Rust $RUST_MIN or newer: install rustup (see rust-lang.org), then run this again"
  fi
  # Without a cargo home of the user's own, downloads stay inside the clone.
  if [ -z "${CARGO_HOME:-}" ] && [ ! -e "$HOME/.cargo" ]; then
    export CARGO_HOME=$STATE/cargo-home
  fi
}

# need_rust_tools: formatter and linter, from where the compiler came from.
need_rust_tools() {
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
    return
  fi
  local version
  version=$(rust_version | cut -d. -f1,2)
  if command -v rustup >/dev/null 2>&1; then
    rustup component add rustfmt clippy >>"$APT_LOG" 2>&1
  elif installed cargo-web; then
    need_packages rustfmt-web rust-web-clippy
  elif installed "cargo-$version"; then
    need_packages "rustfmt-$version" "rust-$version-clippy"
  else
    need_packages rustfmt rust-clippy
  fi
  cargo fmt --version >/dev/null 2>&1 || fail "cannot find rustfmt for the Rust at $(command -v cargo)"
  cargo clippy --version >/dev/null 2>&1 || fail "cannot find clippy for the Rust at $(command -v cargo)"
}

# What machines in containers need on the host.
# shellcheck disable=SC2034 # used by those who source this
MACHINE_PACKAGES=(debootstrap systemd-container nftables iproute2)

# need_s3_server: garage, a real S3 server, for tests/s3.rs; GARAGE names its program from then on. The tests start and
# stop it themselves, on loopback and in a folder of their own. Built once, with little optimisation: it is no part of
# what we measure.
GARAGE_VERSION=2.5.0
need_s3_server() {
  local folder=$STATE/garage
  need_packages make openssl socat
  if [ "$(cat "$folder/version" 2>/dev/null)" != "$GARAGE_VERSION" ]; then
    say "Building the S3 server for tests (garage $GARAGE_VERSION): once, ten minutes of one processor"
    rm -rf "$folder" && mkdir -p "$folder" || return 1
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
      CARGO_PROFILE_RELEASE_DEBUG=false \
      cargo install --quiet garage --version "$GARAGE_VERSION" --locked --no-default-features \
      --features lmdb,bundled-libs --root "$folder" --target-dir "$folder/build" || return 1
    # Three quarters of a gigabyte that nobody needs again.
    rm -rf "$folder/build"
    printf '%s\n' "$GARAGE_VERSION" >"$folder/version"
  fi
  export GARAGE=$folder/bin/garage
}
