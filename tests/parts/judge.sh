# The judge of histories (tests/torture/go/judge), on porcupine, a checker of linearizability.
# part: judge-1.3.1
# source: tests/torture/go/judge/main.go
build_part() {
  cp "$HERE/../torture/go/judge/main.go" .
  cp main.go "$stage/"
  go_build "github.com/anishathalye/porcupine@v${part#judge-}" -- .=judge
}
