#!/bin/sh
# Installs e2d and an etcd for it. Asks no questions, changes nothing outside PREFIX and caches, and can be run again.
#
#   curl -fsSL <address of this file> | sh                    a released executable, its SHA-256 verified
#   ./install.sh --prefix "$HOME/.local"                      inside a checkout: builds the executable first
#
# ./install.sh --help lists the options.
set -eu

DENO_VERSION=2.6.10
ETCD_VERSION=3.6.14
E2D_RELEASES=${E2D_RELEASES:-https://github.com/criticalstack/e2d/releases/latest/download}
E2D_ETCD_MIRROR=${E2D_ETCD_MIRROR:-https://github.com/etcd-io/etcd/releases/download}
export E2D_ETCD_MIRROR
# By default Deno trusts only its own list of certificate authorities. A company's proxy needs those of the system.
export DENO_TLS_CA_STORE="${DENO_TLS_CA_STORE:-system,mozilla}" DENO_NO_UPDATE_CHECK=1 NO_COLOR=1

usage() {
  cat <<END
Installs e2d and an etcd for it, and links its etcdctl next to e2d.

  install.sh [--prefix DIR] [--embed-etcd | --no-etcd]
  install.sh --deno-only [--deno-version VERSION]

  --prefix DIR      install to DIR/bin and DIR/lib/e2d (default: /usr/local for root, otherwise ~/.local)
  --embed-etcd      in a checkout: embed etcd and etcdutl in the executable
  --no-etcd         install no etcd and link no etcdctl: e2d finds or downloads an etcd when it runs
  --deno-only       find or fetch Deno $DENO_VERSION, print its path on standard output, and do nothing else
  --help            print this

Environment:
  E2D_RELEASES      base URL of released executables and their SHA256SUMS (used when this file is piped to sh)
  E2D_ETCD_MIRROR   base URL of official etcd releases
  DENORT_BIN        a copy of the runtime that "deno compile" embeds, if it cannot be downloaded
  XDG_CACHE_HOME    Deno is kept in \$XDG_CACHE_HOME/e2d (default: ~/.cache/e2d)
END
}

log() { printf 'install: %s\n' "$*" >&2; }
fail() {
  log "$*"
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

main() {
  prefix='' etcd=install embed='' deno_only='' deno_version=$DENO_VERSION
  while [ $# -gt 0 ]; do
    case $1 in
      --prefix) [ $# -ge 2 ] || fail "--prefix needs a folder"; prefix=$2; shift ;;
      --prefix=*) prefix=${1#*=} ;;
      --embed-etcd) embed=--embed-etcd ;;
      --no-etcd) etcd=skip ;;
      --deno-only) deno_only=1 ;;
      --deno-version) [ $# -ge 2 ] || fail "--deno-version needs a version"; deno_version=$2; shift ;;
      --help | -h) usage; exit 0 ;;
      *) usage >&2; fail "unknown argument \"$1\"" ;;
    esac
    shift
  done
  if [ -z "$prefix" ]; then
    if [ "$(id -u)" = 0 ]; then prefix=/usr/local; else prefix=${HOME:?set HOME, or pass --prefix}/.local; fi
  fi
  case $prefix in /*) ;; *) prefix=$(pwd)/$prefix ;; esac
  cache=${XDG_CACHE_HOME:-${HOME:-$prefix}/.cache}/e2d
  work=$(mktemp -d "${TMPDIR:-/tmp}/e2d-install-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM HUP

  if [ -n "$deno_only" ]; then
    find_deno "$deno_version" exact
    printf '%s\n' "$DENO"
    return
  fi
  mkdir -p "$prefix/bin" "$prefix/lib/e2d" || fail "cannot write to \"$prefix\": pass another folder with --prefix"
  if checkout=$(find_checkout); then install_checkout; else install_release; fi
  no_etcd=''
  if [ "$etcd" = install ] && [ -z "$embed" ]; then install_etcd; fi
  case :$PATH: in *":$prefix/bin:"*) ;; *) log "add $prefix/bin to PATH to run e2d by its name" ;; esac
  is="$("$prefix/bin/e2d" version | head -n 1) is $prefix/bin/e2d"
  if [ -z "$no_etcd" ]; then
    log "done: $is"
    return
  fi
  # Not a failure: e2d looks for an etcd at each start, so the first boot of an unattended machine must continue.
  log "$is"
  log "NO ETCD IS INSTALLED. When e2d starts, it searches PATH and then downloads an etcd. If it cannot: copy etcd," \
    "etcdctl and etcdutl to $etcds/<version>/ (such as $etcds/$ETCD_VERSION/), or run this script again"
}

# Prints the checkout that contains this file; fails if this file is piped to sh.
find_checkout() {
  case $0 in */install.sh | install.sh) ;; *) return 1 ;; esac
  folder=$(cd "$(dirname "$0")" && pwd) || return 1
  [ -f "$folder/main.ts" ] && [ -f "$folder/deno.json" ] && printf '%s\n' "$folder"
}

# fetch URL FILE
fetch() {
  if has curl; then
    curl -fsSL --retry 2 --connect-timeout 15 --speed-limit 1000 --speed-time 30 -o "$2" "$1"
  elif has wget; then
    wget -q --tries=3 --timeout=30 -O "$2" "$1"
  else
    fail "cannot download: install curl or wget"
  fi
}

sha256_of() {
  if has sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# put FILE NAME   installs an executable by one rename: running processes keep the old file
put() {
  cp "$1" "$2.new-$$" && chmod 755 "$2.new-$$" && mv -f "$2.new-$$" "$2"
}

machine() {
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) echo linux-amd64 ;;
    Linux-aarch64 | Linux-arm64) echo linux-arm64 ;;
    *) return 1 ;;
  esac
}

install_release() {
  platform=$(machine) || fail "no released executable for $(uname -s) on $(uname -m): run this script in a checkout to build it"
  name=e2d-$platform
  log "downloading $E2D_RELEASES/$name"
  fetch "$E2D_RELEASES/SHA256SUMS" "$work/SHA256SUMS" || fail "cannot download $E2D_RELEASES/SHA256SUMS"
  want=$(awk -v name="$name" '$2 == name || $2 == "*" name { print $1; exit }' "$work/SHA256SUMS")
  [ -n "$want" ] || fail "$E2D_RELEASES/SHA256SUMS does not name $name"
  if [ -f "$prefix/bin/e2d" ] && [ "$(sha256_of "$prefix/bin/e2d")" = "$want" ]; then
    log "$prefix/bin/e2d is up to date"
    return
  fi
  fetch "$E2D_RELEASES/$name" "$work/e2d" || fail "cannot download $E2D_RELEASES/$name"
  found=$(sha256_of "$work/e2d")
  [ "$found" = "$want" ] || fail "$name has SHA-256 $found, not $want: nothing was installed"
  put "$work/e2d" "$prefix/bin/e2d"
  log "installed $prefix/bin/e2d"
}

install_checkout() {
  # DENORT_BIN fits exactly one version of Deno; without it any compatible version works.
  if [ -n "${DENORT_BIN:-}" ]; then find_deno "$DENO_VERSION" exact; else find_deno "$DENO_VERSION" compatible; fi
  log "building with $DENO ($(deno_version_of "$DENO"))"
  status=0
  (cd "$checkout" && "$DENO" task --quiet compile --output "$work/e2d" $embed) >"$work/compile.log" 2>&1 || status=$?
  case $status in
    0)
      put "$work/e2d" "$prefix/bin/e2d"
      log "installed $prefix/bin/e2d"
      ;;
    3)
      log "$(tail -n 1 "$work/compile.log")"
      [ -z "$embed" ] || fail "cannot embed etcd: no executable can be built on this machine"
      install_launcher
      ;;
    *)
      cat "$work/compile.log" >&2
      fail "cannot build the executable"
      ;;
  esac
}

# If no executable can be built: installs a script that runs the checkout with Deno and the packages in PREFIX/lib/e2d.
install_launcher() {
  lib=$prefix/lib/e2d
  if [ ! -x "$lib/deno" ] || [ "$(deno_version_of "$lib/deno")" != "$(deno_version_of "$DENO")" ]; then put "$DENO" "$lib/deno"; fi
  (cd "$checkout" && DENO_DIR=$lib/packages "$lib/deno" cache --quiet --frozen main.ts) || fail "cannot fetch the packages of e2d"
  # Packages keep the file modes of their author's machine; a service does not run as root and must read them.
  chmod -R a+rX "$lib/packages"
  cat >"$work/launcher" <<END
#!/bin/sh
# Runs the e2d of a checkout; install.sh wrote this because no executable could be built here.
export DENO_DIR='$(quoted "$lib/packages")' E2D_LIB_DIR='$(quoted "$lib")' DENO_NO_UPDATE_CHECK=1
exec '$(quoted "$lib/deno")' run --quiet --frozen --cached-only --no-prompt -P=e2d '$(quoted "$checkout/main.ts")' "\$@"
END
  put "$work/launcher" "$prefix/bin/e2d"
  log "installed a launcher, $prefix/bin/e2d: it runs $checkout, so keep that folder in place"
}

# Escapes text for use inside single quotes.
quoted() { printf '%s' "$1" | sed "s/'/'\\\\''/g"; }

# --- Deno -----------------------------------------------------------------------------------------------------------

deno_version_of() { "$1" --version 2>/dev/null | sed -n '1s/^deno \([0-9][0-9.]*\).*/\1/p'; }

# usable FILE VERSION exact|compatible
usable() {
  [ -x "$1" ] || return 1
  actual=$(deno_version_of "$1")
  [ "$actual" = "$2" ] && return 0
  [ "$3" = compatible ] || return 1
  case $actual in 2.[6-9].* | 2.[1-9][0-9].*) return 0 ;; *) return 1 ;; esac
}

# find_deno VERSION exact|compatible   sets DENO to the first usable one of: PATH, cache, official installer, npm, PyPI
find_deno() {
  version=$1 need=$2
  if has deno && usable "$(command -v deno)" "$version" "$need"; then
    DENO=$(command -v deno)
    return
  fi
  keep=$cache/deno/$version
  DENO=$keep/deno
  usable "$DENO" "$version" exact && return
  for way in installer npm pypi; do
    rm -rf "$work/deno"
    mkdir -p "$work/deno"
    "deno_from_$way" "$version" >"$work/deno.log" 2>&1 || continue
    found=$(find "$work/deno" -type f -name deno -size +10000k 2>/dev/null | head -n 1)
    [ -n "$found" ] || continue
    chmod 755 "$found"
    usable "$found" "$version" exact || continue
    mkdir -p "$keep"
    put "$found" "$DENO"
    log "fetched Deno $version ($way) to $DENO"
    return
  done
  fail "cannot get Deno $version: it is not on PATH, and the official installer, npm and PyPI failed." \
    "Install Deno $version and run this script again"
}

deno_from_installer() {
  has unzip || has 7z || return 1
  fetch https://deno.land/install.sh "$work/deno-install.sh" &&
    DENO_INSTALL=$work/deno sh "$work/deno-install.sh" -y --no-modify-path "v$1" </dev/null
}

deno_from_npm() {
  has npm || return 1
  # npm also trusts only its own list of certificate authorities.
  authorities=/etc/ssl/certs/ca-certificates.crt
  if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -f "$authorities" ]; then export NODE_EXTRA_CA_CERTS="$authorities"; fi
  npm install --no-save --no-audit --no-fund --fetch-retries 1 --prefix "$work/deno" "deno@$1" &&
    # The package fetches its executable in an install script, which npm skips if scripts are disabled.
    { [ -n "$(find "$work/deno" -type f -name deno -size +10000k | head -n 1)" ] ||
      (cd "$work/deno/node_modules/deno" && node install.cjs); }
}

deno_from_pypi() {
  has python3 || return 1
  for pip in "python3 -m pip" pip3 pip; do
    # shellcheck disable=SC2086
    $pip --version >/dev/null 2>&1 && $pip download --no-deps --only-binary :all: --dest "$work/deno" "deno==$1" && break
  done
  # A wheel is a zip file; this one contains only the executable.
  (cd "$work/deno" && python3 -m zipfile -e ./deno-*.whl unpacked)
}

# --- etcd -----------------------------------------------------------------------------------------------------------

etcd_version_of() { "$1" --version 2>/dev/null | sed -n 's/^etcd Version: \([0-9][0-9.]*\).*/\1/p'; }

# Installs to PREFIX/lib/e2d/etcd/<version>, which e2d of this PREFIX searches for every user, also for a service without
# a home. Sets no_etcd if every source fails.
install_etcd() {
  etcds=$prefix/lib/e2d/etcd
  for present in "$etcds/$ETCD_VERSION/etcd" "$etcds"/*/etcd; do
    if [ -x "$present" ] && [ -n "$(etcd_version_of "$present")" ]; then
      log "etcd $(etcd_version_of "$present") is already installed in $(dirname "$present")"
      link_etcdctl "$(dirname "$present")"
      return
    fi
  done
  mkdir -p "$etcds"
  for way in release go debian; do
    rm -rf "$work/etcd"
    mkdir -p "$work/etcd/bin"
    log "getting etcd: trying $way"
    if "etcd_from_$way" >"$work/etcd.log" 2>&1 && version=$(etcd_version_of "$work/etcd/bin/etcd") && [ -n "$version" ]; then
      publish_etcd "$version"
      log "installed etcd $version ($way) to $etcds/$version"
      link_etcdctl "$etcds/$version"
      return
    fi
    log "  failed: $(grep -v '^ *$' "$work/etcd.log" | tail -n 1)"
  done
  no_etcd=1
}

# link_etcdctl FOLDER   links PREFIX/bin/etcdctl, unless that file exists and is not a link of an earlier installation
link_etcdctl() {
  link=$prefix/bin/etcdctl
  [ -x "$1/etcdctl" ] || return 0
  if [ -L "$link" ]; then
    case $(readlink "$link") in
      "$1/etcdctl") return 0 ;;
      "$etcds"/*/etcdctl) ;;
      *) return 0 ;;
    esac
  elif [ -e "$link" ]; then
    return 0
  fi
  ln -s "$1/etcdctl" "$link.new-$$" && mv -f "$link.new-$$" "$link" && log "linked $link to $1/etcdctl"
}

# Renames a complete folder into place: an incomplete version never exists under its name.
publish_etcd() {
  stage=$etcds/.new-$$
  rm -rf "$stage" && mkdir "$stage"
  for program in etcd etcdctl etcdutl; do
    [ ! -f "$work/etcd/bin/$program" ] || { cp "$work/etcd/bin/$program" "$stage/" && chmod 755 "$stage/$program"; }
  done
  rm -rf "${etcds:?}/$1" && mv "$stage" "$etcds/$1"
}

# e2d itself downloads and verifies the release archive: it contains the pinned checksums.
etcd_from_release() {
  "$prefix/bin/e2d" etcd install --version "$ETCD_VERSION" --to "$work/etcd/release" &&
    cp "$work/etcd/release/$ETCD_VERSION"/etcd* "$work/etcd/bin/"
}

etcd_from_go() (
  has go || fail "go is not on PATH"
  mkdir -p "$work/etcd/go" && cd "$work/etcd/go" || return 1
  export GOFLAGS=-mod=mod CGO_ENABLED=0
  at=go.etcd.io/etcd
  printf 'module etcd-for-e2d\n\ngo 1.24\n' >go.mod
  go get "$at/server/v3@v$ETCD_VERSION" "$at/etcdctl/v3@v$ETCD_VERSION" "$at/etcdutl/v3@v$ETCD_VERSION" || return 1
  for program in server=etcd etcdctl=etcdctl etcdutl=etcdutl; do
    go build -trimpath -ldflags '-s -w' -o "$work/etcd/bin/${program#*=}" "$at/${program%=*}/v3" || return 1
  done
)

etcd_from_debian() (
  has apt-get || fail "apt-get is not on PATH"
  mkdir -p "$work/etcd/deb" && cd "$work/etcd/deb" || return 1
  apt-get download -qq etcd-server etcd-client || return 1
  for package in ./*.deb; do dpkg-deb -x "$package" root || return 1; done
  cp root/usr/bin/etcd root/usr/bin/etcdctl "$work/etcd/bin/"
)

# The shell reads all functions, and this group to its closing brace, before it runs anything: an incomplete download of
# this file does nothing.
{ main "$@"; }
