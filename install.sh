#!/bin/sh
# Installs e2d and an etcd for it. Asks nothing, changes nothing outside PREFIX and caches, and may be run again.
#
#   curl -fsSL <address of this file> | sh                    a released executable, its SHA-256 checked
#   ./install.sh --prefix "$HOME/.local"                      inside a checkout: builds the executable first
#
# ./install.sh --help tells the rest.
set -eu

DENO_VERSION=2.6.10
ETCD_VERSION=3.6.14
E2D_RELEASES=${E2D_RELEASES:-https://github.com/criticalstack/e2d/releases/latest/download}
E2D_ETCD_MIRROR=${E2D_ETCD_MIRROR:-https://github.com/etcd-io/etcd/releases/download}
export E2D_ETCD_MIRROR
# Deno trusts its own list of authorities unless told to trust this machine's, too: a company's proxy needs that.
export DENO_TLS_CA_STORE="${DENO_TLS_CA_STORE:-system,mozilla}" DENO_NO_UPDATE_CHECK=1 NO_COLOR=1

usage() {
  cat <<END
Installs e2d, and an etcd for it, whose etcdctl is linked to where e2d is.

  install.sh [--prefix DIR] [--embed-etcd | --no-etcd]
  install.sh --deno-only [--deno-version VERSION]

  --prefix DIR      install to DIR/bin and DIR/lib/e2d (default: /usr/local for root, else ~/.local)
  --embed-etcd      in a checkout: put etcd and etcdutl into the executable
  --no-etcd         install no etcd, and link no etcdctl: e2d finds or downloads an etcd when it runs
  --deno-only       find or fetch Deno $DENO_VERSION, print its path on standard output, and do nothing else
  --help            print this

Environment:
  E2D_RELEASES      where released executables and their SHA256SUMS are (used when this file is piped to sh)
  E2D_ETCD_MIRROR   where official etcd releases are
  DENORT_BIN        the runtime part that "deno compile" needs, where it cannot be downloaded
  XDG_CACHE_HOME    Deno is kept in \$XDG_CACHE_HOME/e2d (default: ~/.cache/e2d)
END
}

say() { printf 'install: %s\n' "$*" >&2; }
fail() {
  say "$*"
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
  mkdir -p "$prefix/bin" "$prefix/lib/e2d" || fail "cannot write to $prefix: pass another folder with --prefix"
  if checkout=$(find_checkout); then install_checkout; else install_release; fi
  no_etcd=''
  if [ "$etcd" = install ] && [ -z "$embed" ]; then install_etcd; fi
  case :$PATH: in *":$prefix/bin:"*) ;; *) say "add $prefix/bin to PATH to call it as e2d" ;; esac
  is="$("$prefix/bin/e2d" version | head -n 1) is $prefix/bin/e2d"
  if [ -z "$no_etcd" ]; then
    say "done: $is"
    return
  fi
  # No failure: e2d is installed, and it looks for an etcd at each start, so machines that start themselves go on.
  say "$is"
  say "NO ETCD IS INSTALLED. e2d will look on PATH, then download one, at its start. If it cannot: copy etcd, etcdctl" \
    "and etcdutl of your own to $etcds/<version>/ (such as $etcds/$ETCD_VERSION/), or run this again"
}

# The checkout this file lies in; none when it is piped to sh.
find_checkout() {
  case $0 in */install.sh | install.sh) ;; *) return 1 ;; esac
  here=$(cd "$(dirname "$0")" && pwd) || return 1
  [ -f "$here/main.ts" ] && [ -f "$here/deno.json" ] && printf '%s\n' "$here"
}

# fetch URL FILE
fetch() {
  if has curl; then
    curl -fsSL --retry 2 --connect-timeout 15 --speed-limit 1000 --speed-time 30 -o "$2" "$1"
  elif has wget; then
    wget -q --tries=3 --timeout=30 -O "$2" "$1"
  else
    fail "needs curl or wget"
  fi
}

sha256_of() {
  if has sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# put FILE NAME   gives an executable its name by one rename: who runs the old one keeps it
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
  platform=$(machine) || fail "there is no released executable for $(uname -s) on $(uname -m): build it in a checkout"
  name=e2d-$platform
  say "downloading $E2D_RELEASES/$name"
  fetch "$E2D_RELEASES/SHA256SUMS" "$work/SHA256SUMS" || fail "cannot download $E2D_RELEASES/SHA256SUMS"
  want=$(awk -v name="$name" '$2 == name || $2 == "*" name { print $1; exit }' "$work/SHA256SUMS")
  [ -n "$want" ] || fail "$E2D_RELEASES/SHA256SUMS does not name $name"
  if [ -f "$prefix/bin/e2d" ] && [ "$(sha256_of "$prefix/bin/e2d")" = "$want" ]; then
    say "$prefix/bin/e2d is this very release already"
    return
  fi
  fetch "$E2D_RELEASES/$name" "$work/e2d" || fail "cannot download $E2D_RELEASES/$name"
  found=$(sha256_of "$work/e2d")
  [ "$found" = "$want" ] || fail "$name has SHA-256 $found, not $want: nothing was installed"
  put "$work/e2d" "$prefix/bin/e2d"
  say "installed $prefix/bin/e2d"
}

install_checkout() {
  # A DENORT_BIN fits one version of Deno alone; without it any version that is tested will do.
  if [ -n "${DENORT_BIN:-}" ]; then find_deno "$DENO_VERSION" exact; else find_deno "$DENO_VERSION" near; fi
  say "building with $DENO ($(deno_says "$DENO"))"
  status=0
  (cd "$checkout" && "$DENO" task --quiet compile --output "$work/e2d" $embed) >"$work/compile.log" 2>&1 || status=$?
  case $status in
    0)
      put "$work/e2d" "$prefix/bin/e2d"
      say "installed $prefix/bin/e2d"
      ;;
    3)
      say "$(tail -n 1 "$work/compile.log")"
      [ -z "$embed" ] || fail "without an executable there is nothing to put etcd into"
      install_launcher
      ;;
    *)
      cat "$work/compile.log" >&2
      fail "cannot build the executable"
      ;;
  esac
}

# Where no executable can be made: a script that runs the checkout with a Deno and packages of its own below PREFIX.
install_launcher() {
  lib=$prefix/lib/e2d
  if [ ! -x "$lib/deno" ] || [ "$(deno_says "$lib/deno")" != "$(deno_says "$DENO")" ]; then put "$DENO" "$lib/deno"; fi
  (cd "$checkout" && DENO_DIR=$lib/packages "$lib/deno" cache --quiet --frozen main.ts) || fail "cannot fetch the packages that e2d needs"
  # A package keeps the modes that its author's machine gave its files; a service runs as another user than root.
  chmod -R a+rX "$lib/packages"
  cat >"$work/launcher" <<END
#!/bin/sh
# Runs the e2d of a checkout; install.sh wrote this because no executable could be built here.
export DENO_DIR='$(quoted "$lib/packages")' E2D_LIB_DIR='$(quoted "$lib")' DENO_NO_UPDATE_CHECK=1
exec '$(quoted "$lib/deno")' run --quiet --frozen --cached-only --no-prompt -P=e2d '$(quoted "$checkout/main.ts")' "\$@"
END
  put "$work/launcher" "$prefix/bin/e2d"
  say "installed a launcher, $prefix/bin/e2d: it runs $checkout, which must stay where it is"
}

# Text as it stands between single quotes.
quoted() { printf '%s' "$1" | sed "s/'/'\\\\''/g"; }

# --- Deno -----------------------------------------------------------------------------------------------------------

deno_says() { "$1" --version 2>/dev/null | sed -n '1s/^deno \([0-9][0-9.]*\).*/\1/p'; }

# usable FILE VERSION exact|near
usable() {
  [ -x "$1" ] || return 1
  says=$(deno_says "$1")
  [ "$says" = "$2" ] && return 0
  [ "$3" = near ] || return 1
  case $says in 2.[6-9].* | 2.[1-9][0-9].*) return 0 ;; *) return 1 ;; esac
}

# find_deno VERSION exact|near   sets DENO: PATH, the cache, the official installer, npm, PyPI; the first that works
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
    say "fetched Deno $version ($way) to $DENO"
    return
  done
  fail "cannot get Deno $version: not on PATH, and neither the official installer nor npm nor PyPI gave it." \
    "Install Deno $version and run this again"
}

deno_from_installer() {
  has unzip || has 7z || return 1
  fetch https://deno.land/install.sh "$work/deno-install.sh" &&
    DENO_INSTALL=$work/deno sh "$work/deno-install.sh" -y --no-modify-path "v$1" </dev/null
}

deno_from_npm() {
  has npm || return 1
  # npm, too, trusts only its own list of authorities.
  authorities=/etc/ssl/certs/ca-certificates.crt
  if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -f "$authorities" ]; then export NODE_EXTRA_CA_CERTS="$authorities"; fi
  npm install --no-save --no-audit --no-fund --fetch-retries 1 --prefix "$work/deno" "deno@$1" &&
    # The package fetches its executable in a step after the installation, which a strict npm leaves out.
    { [ -n "$(find "$work/deno" -type f -name deno -size +10000k | head -n 1)" ] ||
      (cd "$work/deno/node_modules/deno" && node install.cjs); }
}

deno_from_pypi() {
  has python3 || return 1
  for pip in "python3 -m pip" pip3 pip; do
    # shellcheck disable=SC2086
    $pip --version >/dev/null 2>&1 && $pip download --no-deps --only-binary :all: --dest "$work/deno" "deno==$1" && break
  done
  # A wheel is a zip file, and this one holds nothing but the executable.
  (cd "$work/deno" && python3 -m zipfile -e ./deno-*.whl unpacked)
}

# --- etcd -----------------------------------------------------------------------------------------------------------

etcd_says() { "$1" --version 2>/dev/null | sed -n 's/^etcd Version: \([0-9][0-9.]*\).*/\1/p'; }

# It goes to PREFIX/lib/e2d/etcd/<version>, where every user's e2d of this PREFIX finds it, a service without a home too.
# Sets no_etcd when there is none in the end.
install_etcd() {
  etcds=$prefix/lib/e2d/etcd
  for present in "$etcds/$ETCD_VERSION/etcd" "$etcds"/*/etcd; do
    if [ -x "$present" ] && [ -n "$(etcd_says "$present")" ]; then
      say "etcd $(etcd_says "$present") is in $(dirname "$present") already"
      link_etcdctl "$(dirname "$present")"
      return
    fi
  done
  mkdir -p "$etcds"
  for way in release go debian; do
    rm -rf "$work/etcd"
    mkdir -p "$work/etcd/bin"
    say "getting etcd: trying $way"
    if "etcd_from_$way" >"$work/etcd.log" 2>&1 && version=$(etcd_says "$work/etcd/bin/etcd") && [ -n "$version" ]; then
      publish_etcd "$version"
      say "installed etcd $version ($way) to $etcds/$version"
      link_etcdctl "$etcds/$version"
      return
    fi
    say "  no: $(grep -v '^ *$' "$work/etcd.log" | tail -n 1)"
  done
  no_etcd=1
}

# link_etcdctl FOLDER   gives PREFIX/bin an etcdctl, unless one is there that is no link of an earlier install
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
  ln -s "$1/etcdctl" "$link.new-$$" && mv -f "$link.new-$$" "$link" && say "linked $link to that of $1"
}

# One rename from a folder beside it: there is never half a version.
publish_etcd() {
  stage=$etcds/.new-$$
  rm -rf "$stage" && mkdir "$stage"
  for program in etcd etcdctl etcdutl; do
    [ ! -f "$work/etcd/bin/$program" ] || { cp "$work/etcd/bin/$program" "$stage/" && chmod 755 "$stage/$program"; }
  done
  rm -rf "${etcds:?}/$1" && mv "$stage" "$etcds/$1"
}

# e2d itself downloads and checks the release archive: the sums are pinned in it.
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

# Everything above is read before anything runs, and the bracket must close: a download of this file that breaks off
# anywhere does nothing.
{ main "$@"; }
