# One real memberlist node (tests/interop/go/memberlist-peer) on the version the Go original used and on the newest.
# part: memberlist-0.2.0
# part: memberlist-0.7.0
# source: tests/interop/go/memberlist-peer/main.go
build_part() {
  cp "$HERE/../interop/go/memberlist-peer/main.go" .
  cp main.go "$stage/"
  go_build "github.com/hashicorp/memberlist@v${part#memberlist-}" -- .=memberlist-peer
}
