#!/bin/sh
# Installs the real parts the tests run against: etcd of every supported minor version, an S3 server, peers for
# gossip and so on. Each part is built or fetched from a package registry once and kept in a cache outside the tree:
#
#   tests/parts/install.sh etcd-3.6.14 versitygw     # named parts
#   tests/parts/install.sh --core                    # what `deno task test` needs
#   tests/parts/install.sh --list
#
# A part lands in $E2D_PARTS_DIR/<part>/ (default ${XDG_CACHE_HOME:-~/.cache}/e2d-parts) by one rename, so a stopped
# build leaves nothing that looks finished. tests/parts/parts.ts finds them again.
set -eu

PARTS_DIR=${E2D_PARTS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/e2d-parts}
HERE=$(cd "$(dirname "$0")" && pwd)
CORE="etcd-3.4.23 etcd-3.5.33 etcd-3.6.14 etcd-3.7.3 versitygw-1.8.0"
export GOFLAGS="-mod=mod -trimpath" CGO_ENABLED=0 GOTOOLCHAIN=local

say() { printf 'parts: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || fail "building $part needs $1 on PATH: $2"; }

# go_build MODULE@VERSION... -- PACKAGE=OUTPUT...   builds commands in a throw-away wrapper module.
go_build() {
  need go "install Go 1.24 or newer (Debian: apt-get install golang-go)"
  printf 'module part\n\ngo 1.24\n' > go.mod
  while [ "$1" != "--" ]; do go get "$1" >get.log 2>&1 || { cat get.log >&2; fail "cannot get $1"; }; shift; done
  shift
  for pair in "$@"; do go build -ldflags '-s -w' -o "$stage/${pair#*=}" "${pair%%=*}" || fail "cannot build ${pair%%=*}"; done
}

# deb PACKAGE...   unpacks Debian packages into the part without installing them.
deb() {
  need apt-get "this part comes from Debian's packages"
  for p in "$@"; do
    apt-get download -qq "$p" >deb.log 2>&1 || { apt-get update -qq >deb.log 2>&1 && apt-get download -qq "$p" >>deb.log 2>&1; } ||
      { cat deb.log >&2; fail "cannot download Debian package $p"; }
  done
  for f in ./*.deb; do dpkg-deb -x "$f" root; done
}

build() {
  case $part in
    etcd-3.4.*) # the oldest supported minor, as Debian ships it; etcdctl does etcdutl's work there
      deb etcd-server etcd-client
      cp root/usr/bin/etcd root/usr/bin/etcdctl "$stage/" ;;
    etcd-3.[5-9].*)
      v=v${part#etcd-}
      go_build "go.etcd.io/etcd/server/v3@$v" "go.etcd.io/etcd/etcdctl/v3@$v" "go.etcd.io/etcd/etcdutl/v3@$v" \
        -- go.etcd.io/etcd/server/v3=etcd go.etcd.io/etcd/etcdctl/v3=etcdctl go.etcd.io/etcd/etcdutl/v3=etcdutl ;;
    versitygw-*)
      go_build "github.com/versity/versitygw@v${part#versitygw-}" -- github.com/versity/versitygw/cmd/versitygw=versitygw ;;
    *)
      # A part of one area lives beside the tests of that area: tests/parts/<name>.sh is sourced and defines build_part.
      recipe=$HERE/${part%-[0-9]*}.sh
      [ -f "$recipe" ] || fail "unknown part \"$part\" (tests/parts/install.sh --list names them all)"
      # shellcheck source=/dev/null
      . "$recipe"
      build_part ;;
  esac
}

# outdated: a part built from a Go program of this repository keeps a copy of its source, which has changed since.
outdated() {
  recipe=$HERE/${part%-[0-9]*}.sh
  [ -f "$recipe" ] || return 1
  source=$(sed -n 's/^# source: //p' "$recipe")
  [ -n "$source" ] && ! cmp -s "$HERE/../../$source" "$target/main.go"
}

install_part() {
  part=$1
  target=$PARTS_DIR/$part
  if [ -d "$target" ] && ! outdated; then return 0; fi
  mkdir -p "$PARTS_DIR"
  work=$(mktemp -d "$PARTS_DIR/.work-$part-XXXXXX")
  stage=$work/stage
  mkdir "$stage" "$work/src"
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  say "building $part …"
  (cd "$work/src" && build)
  if [ -d "$target" ] && outdated; then mv "$target" "$work/outdated" || fail "cannot move the outdated $target away"; fi
  mv "$stage" "$target" 2>/dev/null || [ -d "$target" ] || fail "cannot move $part into $PARTS_DIR"
  rm -rf "$work"
  trap - EXIT INT TERM
  say "$part is in $target"
}

[ $# -gt 0 ] || set -- --core
for arg in "$@"; do
  case $arg in
    --core) for p in $CORE; do install_part "$p"; done ;;
    --list)
      for p in $CORE; do echo "$p"; done
      for f in "$HERE"/*.sh; do [ "$f" = "$HERE/install.sh" ] || sed -n 's/^# part: //p' "$f"; done ;;
    *) install_part "$arg" ;;
  esac
done
