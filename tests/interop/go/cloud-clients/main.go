// Reads a fake of a cloud with the provider's own Go client and prints the parsed machines: one JSON object a line.
//
//	cloud-clients digitalocean URL TOKEN TAG
//	cloud-clients hetzner URL TOKEN SELECTOR
//	cloud-clients gce URL TOKEN PROJECT FILTER
//	cloud-clients azure URL TOKEN SUBSCRIPTION GROUP SCALE_SET
//	cloud-clients metadata-do URL, metadata-hetzner URL, metadata-gce URL     this machine
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	gce_metadata "cloud.google.com/go/compute/metadata"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v6"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v6"
	do_metadata "github.com/digitalocean/go-metadata"
	"github.com/digitalocean/godo"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
	hcloud_metadata "github.com/hetznercloud/hcloud-go/v2/hcloud/metadata"
	"golang.org/x/oauth2"
	"google.golang.org/api/compute/v1"
	"google.golang.org/api/option"
)

type machine struct {
	Name    string            `json:"name"`
	Status  string            `json:"status"`
	Private string            `json:"private"`
	Tags    map[string]string `json:"tags"`
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	readers := map[string]func(context.Context, []string) ([]machine, error){
		"digitalocean": digitalOcean, "hetzner": hetzner, "gce": gce, "azure": azure, "metadata-do": doMetadata, "metadata-hetzner": hetznerMetadata, "metadata-gce": gceMetadata,
	}
	machines, err := readers[os.Args[1]](ctx, os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, m := range machines {
		line, _ := json.Marshal(m)
		fmt.Println(string(line))
	}
}

func digitalOcean(ctx context.Context, args []string) ([]machine, error) {
	client, err := godo.New(oauth2.NewClient(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: args[1]})), godo.SetBaseURL(args[0]+"/"))
	if err != nil {
		return nil, err
	}
	var found []machine
	page := &godo.ListOptions{Page: 1, PerPage: 200}
	for {
		droplets, response, err := client.Droplets.ListByTag(ctx, args[2], page)
		if err != nil {
			return nil, err
		}
		for _, d := range droplets {
			private, err := d.PrivateIPv4()
			if err != nil {
				return nil, err
			}
			tags := map[string]string{}
			for _, tag := range d.Tags {
				tags[tag] = ""
			}
			found = append(found, machine{d.Name, d.Status, private, tags})
		}
		if response.Links == nil || response.Links.IsLastPage() {
			return found, nil
		}
		current, err := response.Links.CurrentPage()
		if err != nil {
			return nil, err
		}
		page.Page = current + 1
	}
}

func hetzner(ctx context.Context, args []string) ([]machine, error) {
	client := hcloud.NewClient(hcloud.WithEndpoint(args[0]+"/v1"), hcloud.WithToken(args[1]))
	servers, err := client.Server.AllWithOpts(ctx, hcloud.ServerListOpts{ListOpts: hcloud.ListOpts{LabelSelector: args[2], PerPage: 50}})
	if err != nil {
		return nil, err
	}
	var found []machine
	for _, s := range servers {
		private := ""
		if len(s.PrivateNet) > 0 {
			private = s.PrivateNet[0].IP.String()
		}
		found = append(found, machine{s.Name, string(s.Status), private, s.Labels})
	}
	return found, nil
}

func gce(ctx context.Context, args []string) ([]machine, error) {
	service, err := compute.NewService(ctx, option.WithEndpoint(args[0]+"/compute/v1/"),
		option.WithTokenSource(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: args[1]})))
	if err != nil {
		return nil, err
	}
	var found []machine
	err = service.Instances.AggregatedList(args[2]).Filter(args[3]).MaxResults(500).Pages(ctx, func(page *compute.InstanceAggregatedList) error {
		for _, zone := range page.Items {
			for _, i := range zone.Instances {
				private := ""
				if len(i.NetworkInterfaces) > 0 {
					private = i.NetworkInterfaces[0].NetworkIP
				}
				found = append(found, machine{i.Name, i.Status, private, i.Labels})
			}
		}
		return nil
	})
	return found, err
}

type staticToken string

func (t staticToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func azure(ctx context.Context, args []string) ([]machine, error) {
	url, token, subscription, group, set := args[0], staticToken(args[1]), args[2], args[3], args[4]
	options := &arm.ClientOptions{DisableRPRegistration: true}
	options.Cloud = cloud.Configuration{Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
		cloud.ResourceManager: {Endpoint: url, Audience: url},
	}}
	options.InsecureAllowCredentialWithHTTP = true
	machines, err := armcompute.NewVirtualMachinesClient(subscription, token, options)
	if err != nil {
		return nil, err
	}
	faces, err := armnetwork.NewInterfacesClient(subscription, token, options)
	if err != nil {
		return nil, err
	}
	members, err := armcompute.NewVirtualMachineScaleSetVMsClient(subscription, token, options)
	if err != nil {
		return nil, err
	}
	private := map[string]string{}
	keep := func(face *armnetwork.Interface) {
		if face.Properties.VirtualMachine != nil && face.Properties.Primary != nil && *face.Properties.Primary {
			private[strings.ToLower(*face.Properties.VirtualMachine.ID)] = *face.Properties.IPConfigurations[0].Properties.PrivateIPAddress
		}
	}
	for pager := faces.NewListPager(group, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, face := range page.Value {
			keep(face)
		}
	}
	for pager := faces.NewListVirtualMachineScaleSetNetworkInterfacesPager(group, set, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, face := range page.Value {
			keep(face)
		}
	}
	var found []machine
	add := func(name, id *string, tags map[string]*string, statuses []*armcompute.InstanceViewStatus) {
		m := machine{Name: *name, Private: private[strings.ToLower(*id)], Tags: map[string]string{}}
		for key, value := range tags {
			m.Tags[key] = *value
		}
		for _, status := range statuses {
			if strings.HasPrefix(*status.Code, "PowerState/") {
				m.Status = *status.Code
			}
		}
		found = append(found, m)
	}
	expand := armcompute.ExpandTypeForListVMsInstanceView
	for pager := machines.NewListPager(group, &armcompute.VirtualMachinesClientListOptions{Expand: &expand}); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, vm := range page.Value {
			add(vm.Name, vm.ID, vm.Tags, vm.Properties.InstanceView.Statuses)
		}
	}
	view := "instanceView"
	for pager := members.NewListPager(group, set, &armcompute.VirtualMachineScaleSetVMsClientListOptions{Expand: &view}); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, vm := range page.Value {
			add(vm.Name, vm.ID, vm.Tags, vm.Properties.InstanceView.Statuses)
		}
	}
	return found, nil
}

func doMetadata(_ context.Context, args []string) ([]machine, error) {
	base, err := url.Parse(args[0])
	if err != nil {
		return nil, err
	}
	m, err := do_metadata.NewClient(do_metadata.WithBaseURL(base)).Metadata()
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for _, tag := range m.Tags {
		tags[tag] = ""
	}
	return []machine{{m.Hostname, fmt.Sprint(m.DropletID), m.Interfaces["private"][0].IPv4.IPAddress, tags}}, nil
}

func hetznerMetadata(_ context.Context, args []string) ([]machine, error) {
	client := hcloud_metadata.NewClient(hcloud_metadata.WithEndpoint(args[0] + "/hetzner/v1/metadata"))
	id, err := client.InstanceID()
	if err != nil {
		return nil, err
	}
	networks, err := client.PrivateNetworks()
	return []machine{{"", fmt.Sprint(id), networks, nil}}, err
}

func gceMetadata(ctx context.Context, args []string) ([]machine, error) {
	os.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(args[0], "http://"))
	name, err := gce_metadata.InstanceNameWithContext(ctx)
	if err != nil {
		return nil, err
	}
	zone, err := gce_metadata.ZoneWithContext(ctx)
	if err != nil {
		return nil, err
	}
	private, err := gce_metadata.InternalIPWithContext(ctx)
	if err != nil {
		return nil, err
	}
	project, err := gce_metadata.ProjectIDWithContext(ctx)
	return []machine{{name, project + " " + zone, private, nil}}, err
}
