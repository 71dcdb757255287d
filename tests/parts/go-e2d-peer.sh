# The gossip role of the Go original (tests/interop/go/e2d-peer), on the memberlist it resolved to.
# part: go-e2d-peer
# source: tests/interop/go/e2d-peer/main.go
build_part() {
  cp "$HERE/../interop/go/e2d-peer/main.go" .
  cp main.go "$stage/"
  go_build github.com/hashicorp/memberlist@v0.2.0 -- .=e2d-peer
}
