# shellcheck shell=sh
# Runs suites one after another and adds up what they report. Sourced by tests/run.sh and .ci/run:
#
#   run_suite NAME SECONDS COMMAND...    COMMAND gets --junit-path=FILE as its last argument
#   run_check NAME SECONDS COMMAND...    one thing that passes when COMMAND succeeds
#   finish                               prints "N passed, N failed" and exits

passed=0
failed=0
reports=$(mktemp -d "${TMPDIR:-/tmp}/e2d-reports-XXXXXX")
trap 'rm -rf "$reports"' EXIT

heading() { printf '\n== %s\n' "$*"; }

# attribute NAME FILE   a number in the first tag of a JUnit report
attribute() { sed -n "s/.*<testsuites[^>]* $1=\"\([0-9]*\)\".*/\1/p" "$2" | head -n 1; }

run_suite() {
  suite=$1
  seconds=$2
  shift 2
  heading "$suite"
  report=$reports/$suite.xml
  status=0
  timeout -k 30 "$seconds" "$@" --junit-path="$report" || status=$?
  if [ ! -s "$report" ]; then
    printf 'suite %s: no report, exit code %s\n' "$suite" "$status"
    failed=$((failed + 1))
    return
  fi
  all=$(attribute tests "$report")
  bad=$(($(attribute failures "$report") + $(attribute errors "$report")))
  # A test that is left out has not passed: nothing is skipped in silence.
  ignored=$(grep -c '<skipped' "$report" || true)
  [ "$ignored" = 0 ] || printf 'suite %s: %s tests are ignored\n' "$suite" "$ignored"
  good=$((all - bad - ignored))
  bad=$((bad + ignored))
  if [ "$bad" = 0 ] && { [ "$status" != 0 ] || [ "$good" = 0 ]; }; then
    printf 'suite %s: exit code %s after %s tests\n' "$suite" "$status" "$good"
    bad=1
  fi
  passed=$((passed + good))
  failed=$((failed + bad))
  printf 'suite %s: %s passed, %s failed\n' "$suite" "$good" "$bad"
}

run_check() {
  check=$1
  seconds=$2
  shift 2
  heading "$check"
  if timeout -k 30 "$seconds" "$@"; then
    passed=$((passed + 1))
  else
    printf 'check %s: exit code %s\n' "$check" "$?"
    failed=$((failed + 1))
  fi
}

finish() {
  [ "$passed" -gt 0 ] || failed=$((failed + 1))
  printf '\n%s passed, %s failed\n' "$passed" "$failed"
  [ "$failed" = 0 ]
  exit $?
}
