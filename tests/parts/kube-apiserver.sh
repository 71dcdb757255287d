# The Kubernetes API server; it keeps its objects in an etcd of the tests. Takes about five minutes on two cores.
# part: kube-apiserver-1.37.2
build_part() {
  need go "install Go 1.26 or newer"
  version=${part#kube-apiserver-}
  staging=v0.${version#1.}
  go mod download "k8s.io/kubernetes@v$version" || fail "cannot get k8s.io/kubernetes"
  upstream=$(go env GOMODCACHE)/cache/download/k8s.io/kubernetes/@v/v$version.mod
  # Inside Kubernetes its libraries come from a folder beside it; outside, each has a version of its own.
  {
    printf 'module part\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$version"
    sed -n "s|^[[:space:]]*\(k8s.io/[a-z0-9-]*\) => ./staging.*|\t\1 => \1 $staging|p" "$upstream"
    printf ')\n'
    sed -n '/^require (/,/^)/p' "$upstream" | grep -v 'v0\.0\.0$'
  } >go.mod
  go build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$version" -o "$stage/kube-apiserver" \
    k8s.io/kubernetes/cmd/kube-apiserver || fail "cannot build kube-apiserver"
}
