package main

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

// privileges that the user lacks. The simulator grants everything and enforces nothing: it is asked, and answers here.
type privileges struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (p *privileges) deny(ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids = map[string]bool{}
	for _, id := range ids {
		p.ids[id] = true
	}
}

// hasPrivileges answers HasPrivilegeOnEntities.
func (f *front) hasPrivileges(w http.ResponseWriter, r *http.Request, body []byte) {
	asked := method(body)
	if asked == nil {
		f.ask(r, body).send(w)
		return
	}
	f.denied.mu.Lock()
	defer f.denied.mu.Unlock()
	call := asked.Body.(*types.HasPrivilegeOnEntities)
	said := ""
	for _, entity := range call.Entity {
		said += fmt.Sprintf(`<returnval><entity type="%s">%s</entity>`, entity.Type, entity.Value)
		for _, id := range call.PrivId {
			said += fmt.Sprintf("<privAvailability><privId>%s</privId><isGranted>%t</isGranted></privAvailability>",
				id, !f.denied.ids[id])
		}
		said += "</returnval>"
	}
	_, _ = fmt.Fprintf(w, envelope, `<HasPrivilegeOnEntitiesResponse xmlns="urn:vim25">`+said+`</HasPrivilegeOnEntitiesResponse>`)
}
