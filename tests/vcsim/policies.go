package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
)

// policies says which datastores satisfy a storage policy: the simulator says all, of any. A policy that nobody spoke
// of by hand is satisfied by all of them here too.
type policies struct {
	mu         sync.Mutex
	datastores map[string][]string // id of a policy -> refs
}

// set takes a policy's id, and the names of the datastores that satisfy it from now on.
func (p *policies) set(id string, names []string) {
	refs := []string{}
	for _, name := range names {
		refs = append(refs, simulator.Map.FindByName(name, refsOf("Datastore")).Reference().Value)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.datastores == nil {
		p.datastores = map[string][]string{}
	}
	p.datastores[id] = refs
}

func (p *policies) satisfying(body []byte) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, refs := range p.datastores {
		if bytes.Contains(body, []byte(">"+id+"<")) {
			return refs
		}
	}
	refs := []string{}
	for _, ref := range refsOf("Datastore") {
		refs = append(refs, ref.Value)
	}
	return refs
}

// policyService serves /pbm/sdk, where a real vCenter has it, from the simulator's /pbm; it lacks PbmQueryMatchingHub.
func (f *front) policyService(w http.ResponseWriter, r *http.Request) {
	r.URL.Path = strings.Replace(r.URL.Path, "/pbm/sdk", "/pbm", 1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	name := ""
	if found := methodOf.FindSubmatch(body); found != nil {
		name = string(found[1])
	}
	f.count(name)
	if f.faults.meet(w, name, body) {
		return
	}
	if name == "PbmQueryMatchingHub" {
		hubs := ""
		for _, ref := range f.policies.satisfying(body) {
			hubs += fmt.Sprintf("<returnval><hubType>Datastore</hubType><hubId>%s</hubId></returnval>", ref)
		}
		_, _ = fmt.Fprintf(w, envelope, `<PbmQueryMatchingHubResponse xmlns="urn:pbm">`+hubs+`</PbmQueryMatchingHubResponse>`)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.inner.ServeHTTP(w, r)
}
