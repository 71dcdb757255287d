# The providers' own Go clients, which judge our fakes of their clouds: what they cannot read is not what the cloud says.
# part: cloud-clients-1.0.0
# source: tests/interop/go/cloud-clients/main.go
build_part() {
  cp "$HERE/../interop/go/cloud-clients/main.go" .
  cp main.go "$stage/"
  azure=github.com/Azure/azure-sdk-for-go/sdk
  go_build github.com/digitalocean/godo@v1.236.0 github.com/digitalocean/go-metadata@v0.0.0-20250129100319-e3650a3df44b \
    github.com/hetznercloud/hcloud-go/v2@v2.40.0 \
    google.golang.org/api@v0.311.0 "$azure/azcore@v1.24.0" "$azure/resourcemanager/compute/armcompute/v6@v6.4.0" \
    "$azure/resourcemanager/network/armnetwork/v6@v6.2.0" golang.org/x/oauth2@v0.37.0 -- .=cloud-clients
}
