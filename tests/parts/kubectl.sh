# kubectl, from the library it is made of: the command of Kubernetes itself is these same lines around it.
# part: kubectl-1.37.2
build_part() {
  cat >main.go <<'GO'
package main

import (
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
GO
  go_build "k8s.io/kubectl@v0.${part#kubectl-1.}" -- .=kubectl
}
