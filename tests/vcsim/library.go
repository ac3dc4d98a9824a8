package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const deployPath = "/rest/com/vmware/vcenter/ovf/library-item/id:"

// The simulator keeps libraries and items, and cannot deploy one without a server of its own. Here an item becomes a
// clone of a VM that is there from the start, whatever its files say.
type deployment struct {
	Spec struct {
		Name      string `json:"name"`
		Datastore string `json:"default_datastore_id"`
	} `json:"deployment_spec"`
	Target struct {
		Pool   string `json:"resource_pool_id"`
		Host   string `json:"host_id"`
		Folder string `json:"folder_id"`
	} `json:"target"`
}

func isDeployment(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, deployPath) && r.URL.Query().Get("~action") == "deploy"
}

// rest serves vCenter's REST services. The fault of the method "rest" is the status that it answers with, or "hang".
func (f *front) rest(w http.ResponseWriter, r *http.Request) {
	if one := f.faults.next("rest", nil); one != nil {
		if one.Kind == "hang" {
			time.Sleep(time.Duration(one.HangS * float64(time.Second)))
		} else {
			status, _ := strconv.Atoi(one.Fault)
			http.Error(w, "as it was told", status)
			return
		}
	}
	if isDeployment(r) {
		f.deploy(w, r)
		return
	}
	f.inner.ServeHTTP(w, r)
}

func (f *front) deploy(w http.ResponseWriter, r *http.Request) {
	f.count("deploy")
	var asked deployment
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &asked) != nil {
		http.Error(w, "not a deployment", http.StatusBadRequest)
		return
	}
	look := r.Clone(r.Context())
	look.Method, look.Body = http.MethodGet, http.NoBody
	look.URL.Path = strings.Replace(r.URL.Path, "vcenter/ovf/library-item", "content/library/item", 1)
	look.URL.RawQuery = ""
	seen := httptest.NewRecorder()
	f.inner.ServeHTTP(seen, look)
	if seen.Code != http.StatusOK { // no session, or no such item
		http.Error(w, seen.Body.String(), seen.Code)
		return
	}
	if f.faults.next("deploy", body) != nil {
		told(w, false, "com.vmware.vapi.std.errors.unable_to_allocate_resource", "The datastore is full.")
		return
	}
	folder := types.ManagedObjectReference{Type: "Folder", Value: asked.Target.Folder}
	release, ok := f.reserve(httptest.NewRecorder(), folder, asked.Spec.Name)
	if !ok {
		told(w, false, "com.vmware.vapi.std.errors.already_exists", "The name is taken.")
		return
	}
	defer release()
	ref := f.cloneOfTheFirst(r, asked)
	if ref == nil {
		told(w, false, "com.vmware.vapi.std.errors.error", "It cannot be deployed there.")
		return
	}
	answered(w, map[string]interface{}{"succeeded": true, "resource_id": map[string]string{"type": ref.Type, "id": ref.Value}})
}

func (f *front) cloneOfTheFirst(r *http.Request, asked deployment) *types.ManagedObjectReference {
	first := simulator.Map.FindByName("DC0_H0_VM0", refsOf("VirtualMachine"))
	template, ok := first.(*simulator.VirtualMachine)
	if !ok {
		return nil
	}
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawQuery = "/sdk", ""
	r.Header = http.Header{"Content-Type": {"text/xml"}}
	login := fmt.Sprintf(`<Login xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this><userName>%s</userName>`+
		`<password>%s</password></Login>`, *username, *password)
	entered := httptest.NewRecorder()
	f.inner.ServeHTTP(entered, soapOf(r, login))
	for _, cookie := range entered.Result().Cookies() {
		r.AddCookie(cookie)
	}
	clone := fmt.Sprintf(`<CloneVM_Task xmlns="urn:vim25"><_this type="VirtualMachine">%s</_this><folder type="Folder">%s</folder>`+
		`<name>%s</name><spec><location><datastore type="Datastore">%s</datastore><pool type="ResourcePool">%s</pool>`+
		`<host type="HostSystem">%s</host></location><template>false</template><powerOn>false</powerOn></spec></CloneVM_Task>`,
		template.Self.Value, asked.Target.Folder, asked.Spec.Name, asked.Spec.Datastore, asked.Target.Pool, asked.Target.Host)
	task := f.cloneNow(r, []byte(wrapped(clone)), template).task()
	for end := time.Now().Add(10 * time.Second); task != nil && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ref, ok := task.Info.Result.(types.ManagedObjectReference); ok {
			f.books.settle(ref)
			return &ref
		}
		if task.Info.State == types.TaskInfoStateError {
			return nil
		}
	}
	return nil
}

func wrapped(body string) string {
	return `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>` + body +
		`</soapenv:Body></soapenv:Envelope>`
}

func soapOf(r *http.Request, body string) *http.Request {
	asked := r.Clone(r.Context())
	text := wrapped(body)
	asked.Body, asked.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	return asked
}

func told(w http.ResponseWriter, succeeded bool, class, words string) {
	messages := []map[string]string{{"default_message": words}}
	fault := map[string]interface{}{"category": "SERVER", "error": map[string]interface{}{"@class": class, "messages": messages}}
	answered(w, map[string]interface{}{"succeeded": succeeded, "error": map[string]interface{}{"errors": []interface{}{fault}}})
}

func answered(w http.ResponseWriter, value interface{}) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]interface{}{"value": value})
}
