#!/bin/sh
# Runs every test there is, on a fresh machine too: gets Deno and the real parts (etcd, an S3 server, peers) into a
# cache outside the tree first, which takes some minutes once. Ends with "N passed, N failed" alone on its last line.
#
#   sh tests/run.sh                  all suites
#   sh tests/run.sh contract e2e     these suites alone
set -u

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.." || exit 1
# shellcheck source=tests/suites.sh
. "$here/suites.sh"

export DENO_TLS_CA_STORE="${DENO_TLS_CA_STORE:-system,mozilla}" DENO_NO_UPDATE_CHECK=1 NO_COLOR=1

deno=$(sh install.sh --deno-only) || { failed=1; finish; }
PATH=$(dirname "$deno"):$PATH
export PATH

[ $# -gt 0 ] || set -- ok contract interop e2e story

# A part that cannot be had fails the tests that need it, each with the command that installs it.
for part in $(sh tests/parts/install.sh --list); do
  timeout -k 30 900 sh tests/parts/install.sh "$part" || echo "part $part: not installed"
done

for suite in "$@"; do
  case $suite in
    ok) run_suite ok 900 deno task --quiet ok ;;
    # Mostly minutes of real time in which nothing must happen; each file has its own loopback addresses.
    interop) run_processes interop 1200 2 tests/interop ;;
    # Clusters that mostly wait for a death to be certain: three files side by side keep two cores busy.
    e2e) run_processes e2e 1800 3 tests/e2e ;;
    *) run_processes "$suite" 1800 2 "tests/$suite" ;;
  esac
done
finish
