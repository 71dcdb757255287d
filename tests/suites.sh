# shellcheck shell=sh
# Runs suites one after another and adds up what they report. Sourced by tests/run.sh and .ci/run:
#
#   run_suite NAME SECONDS COMMAND...      COMMAND gets --junit-path=FILE as its last argument
#   run_processes NAME SECONDS JOBS DIR    tests on real processes; a file that fails is run once more, alone
#   run_check NAME SECONDS COMMAND...      one thing that passes when COMMAND succeeds
#   finish                                 names what failed, prints "N passed, N failed" and exits

passed=0
failed=0
twice=
reports=$(mktemp -d "${TMPDIR:-/tmp}/e2d-reports-XXXXXX")
# What failed, a line each: .ci/run hands its own list to the run that it contains.
failing=${E2D_FAILING:-$reports/failing}
trap 'rm -rf "$reports"' EXIT

heading() { printf '\n== %s\n' "$*"; }

# attribute NAME FILE   a number in the first tag of a JUnit report
attribute() { sed -n "s/.*<testsuites[^>]* $1=\"\([0-9]*\)\".*/\1/p" "$2" | head -n 1; }

# measure NAME SECONDS COMMAND...   runs COMMAND and sets $report, $good and $bad
measure() {
  suite=$1
  seconds=$2
  shift 2
  heading "$suite"
  report=$reports/$suite.xml
  status=0
  timeout -k 30 "$seconds" "$@" --junit-path="$report" || status=$?
  if [ ! -s "$report" ]; then
    printf 'suite %s: no report, exit code %s\n' "$suite" "$status"
    good=0
    bad=1
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
  printf 'suite %s: %s passed, %s failed\n' "$suite" "$good" "$bad"
}

note_failing() {
  printf 'suite %s\n' "$suite" >> "$failing"
  [ -s "$report" ] || return 0
  grep -B 1 '<failure\|<error\|<skipped' "$report" |
    sed -n 's/.*<testcase name="\([^"]*\)" classname="\([^"]*\)".*/  \2: \1/p' >> "$failing"
}

add() {
  passed=$((passed + good))
  failed=$((failed + bad))
  [ "$bad" = 0 ] || note_failing
}

run_suite() {
  measure "$@"
  add
}

run_processes() {
  name=$1
  limit=$2
  measure "$name" "$limit" env "DENO_JOBS=$3" deno test --quiet --no-check --frozen --parallel --allow-all "$4"
  files=
  if [ "$bad" != 0 ] && [ -s "$report" ]; then
    # Which failures a busy machine may excuse, and which nothing does.
    files=$(deno run --quiet --no-check --frozen --allow-read tests/support/second_look.ts "$report")
  fi
  if [ -n "$files" ]; then
    total=$((good + bad))
    # shellcheck disable=SC2086
    measure "$name-second-look" "$limit" deno test --quiet --no-check --frozen --allow-all $files
    good=$((total - bad))
    if [ "$bad" = 0 ]; then
      twice="$twice $files"
    fi
  fi
  add
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
    printf 'check %s\n' "$check" >> "$failing"
  fi
}

finish() {
  [ "$passed" -gt 0 ] || failed=$((failed + 1))
  # shellcheck disable=SC2086
  [ -z "$twice" ] || { printf '\npassed only when run alone:\n' && printf '  %s\n' $twice; }
  [ ! -s "$failing" ] || { printf '\nfailed:\n' && cat "$failing"; }
  printf '\n%s passed, %s failed\n' "$passed" "$failed"
  [ "$failed" = 0 ]
  exit $?
}
