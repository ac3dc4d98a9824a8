package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

var simulatorContext = context.Background()

// fault is one injected misfortune. It befalls calls of Method whose body contains Match, Times times (0: for ever).
type fault struct {
	Method string  `json:"method"`
	Match  string  `json:"match"`
	Kind   string  `json:"kind"` // "fault": answered at once | "task": the task fails | "stuck": it never ends | "reset" | "lost" | "hang"
	Fault  string  `json:"fault"`
	Detail string  `json:"detail"` // inner XML of the fault
	Text   string  `json:"text"`
	Times  int     `json:"times"`
	HangS  float64 `json:"hang_s"`
	met    int
}

type faults struct {
	mu   sync.Mutex
	list []*fault
}

// next finds the fault that befalls this call; `lost <method>` asks for those of that kind alone.
func (f *faults) next(name string, body []byte) *fault {
	lost := strings.HasPrefix(name, "lost ")
	name = strings.TrimPrefix(name, "lost ")
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.list {
		if lost == (one.Kind == "lost") && (one.Method == "" || one.Method == name) && bytes.Contains(body, []byte(one.Match)) &&
			(one.Times == 0 || one.met < one.Times) {
			one.met++
			return one
		}
	}
	return nil
}

// meet lets an injected fault befall a call; false: none did, or the call still has to be carried out.
func (f *faults) meet(w http.ResponseWriter, name string, body []byte) bool {
	one := f.next(name, body)
	if one == nil {
		return false
	}
	switch one.Kind {
	case "reset":
		hangUp(w)
	case "hang":
		time.Sleep(time.Duration(one.HangS * float64(time.Second)))
		return false
	case "stuck":
		task := simulator.CreateTask(simulator.Map.Get(method(body).This), strings.TrimSuffix(name, "_Task"), nil)
		simulator.Map.Update(task, []types.PropertyChange{
			{Name: "info.startTime", Val: time.Now()},
			{Name: "info.state", Val: types.TaskInfoStateRunning},
		})
		sendTask(w, name, task.Self)
	case "task":
		asked := method(body)
		entity := simulator.Map.Get(asked.This)
		sendTask(w, name, failedTask(entity, strings.TrimSuffix(name, "_Task"), faultNamed(one.Fault, entity)))
	default:
		sendFault(w, one.Fault, one.Detail, one.Text)
	}
	return true
}

func hangUp(w http.ResponseWriter) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if inner, ok := connection.(interface{ NetConn() net.Conn }); ok {
		if tcp, ok := inner.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
			return
		}
	}
	_ = connection.Close()
}

func faultNamed(name string, entity mo.Reference) types.BaseMethodFault {
	if name == "DuplicateName" {
		return &types.DuplicateName{Name: "taken", Object: entity.Reference()}
	}
	if kind, ok := types.TypeFunc()(name); ok {
		if made, ok := reflect.New(kind).Interface().(types.BaseMethodFault); ok {
			return made
		}
	}
	return &types.SystemError{Reason: name}
}

func failedTask(entity mo.Reference, name string, reason types.BaseMethodFault) types.ManagedObjectReference {
	task := simulator.CreateTask(entity, name, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return nil, reason
	})
	return task.Run()
}

// finish gives a task that was made here the end of the one that did the work.
func finish(task, done *simulator.Task) {
	if done == nil {
		simulator.Map.Update(task, []types.PropertyChange{
			{Name: "info.completeTime", Val: time.Now()},
			{Name: "info.state", Val: types.TaskInfoStateError},
			{Name: "info.error", Val: types.LocalizedMethodFault{Fault: &types.SystemError{}, LocalizedMessage: "SystemError"}},
		})
		return
	}
	changes := []types.PropertyChange{
		{Name: "info.completeTime", Val: time.Now()},
		{Name: "info.state", Val: done.Info.State},
		{Name: "info.result", Val: done.Info.Result},
	}
	if done.Info.Error != nil {
		changes = append(changes, types.PropertyChange{Name: "info.error", Val: *done.Info.Error})
	}
	simulator.Map.Update(task, changes)
}

// --- SOAP by hand --------------------------------------------------------------------------------------------------

const envelope = `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>%s</soapenv:Body></soapenv:Envelope>`

func sendTask(w http.ResponseWriter, name string, ref types.ManagedObjectReference) {
	_, _ = fmt.Fprintf(w, envelope, fmt.Sprintf(
		`<%sResponse xmlns="urn:vim25"><returnval type="Task">%s</returnval></%sResponse>`, name, ref.Value, name))
}

func sendFault(w http.ResponseWriter, name, detail, text string) {
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = fmt.Fprintf(w, envelope, fmt.Sprintf(
		`<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring><detail><%sFault xmlns="urn:vim25" xsi:type="%s">%s</%sFault></detail></soapenv:Fault>`,
		text, name, name, detail, name))
}

func sendDuplicate(w http.ResponseWriter, name string, ref types.ManagedObjectReference) {
	sendFault(w, "DuplicateName", fmt.Sprintf(`<name>%s</name><object type="%s">%s</object>`, name, ref.Type, ref.Value),
		fmt.Sprintf("The name '%s' already exists.", name))
}

// --- the admin's paths ---------------------------------------------------------------------------------------------

type order struct {
	Name      string   `json:"name"`
	Seconds   float64  `json:"seconds"`
	Cores     int16    `json:"cores"`
	MemoryMiB int64    `json:"memory_mib"`
	FreeGiB   int64    `json:"free_gib"`
	Datastore string   `json:"datastore"`
	Mounted   bool     `json:"mounted"`
	Names     []string `json:"names"`
}

// admin serves /facet/*: what a test does to the site by hand, or wants to know about it.
func (f *front) admin(w http.ResponseWriter, r *http.Request) {
	var asked order
	var injected fault
	target := interface{}(&asked)
	if r.URL.Path == "/facet/faults" {
		target = &injected
	}
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(target); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /facet/calls":
		f.mu.Lock()
		answer := map[string]interface{}{"writes": f.writes, "calls": f.calls, "in_flight": f.names()}
		_ = json.NewEncoder(w).Encode(answer)
		f.mu.Unlock()
	case "GET /facet/faults": // how often each has befallen a call
		f.faults.mu.Lock()
		met := []int{}
		for _, one := range f.faults.list {
			met = append(met, one.met)
		}
		_ = json.NewEncoder(w).Encode(met)
		f.faults.mu.Unlock()
	case "POST /facet/faults":
		f.faults.mu.Lock()
		f.faults.list = append(f.faults.list, &injected)
		f.faults.mu.Unlock()
	case "DELETE /facet/faults":
		f.faults.mu.Lock()
		f.faults.list = nil
		f.faults.mu.Unlock()
	case "POST /facet/clone-delay":
		f.mu.Lock()
		f.delay = time.Duration(asked.Seconds * float64(time.Second))
		f.mu.Unlock()
	case "POST /facet/move-delay":
		f.mu.Lock()
		f.moveDelay = time.Duration(asked.Seconds * float64(time.Second))
		f.mu.Unlock()
	case "POST /facet/mount":
		store := simulator.Map.FindByName(asked.Datastore, refsOf("Datastore")).Reference()
		mount(simulator.Map.FindByName(asked.Name, refsOf("HostSystem")).(*simulator.HostSystem), store, asked.Mounted)
	case "POST /facet/policy": // by its id: the names of the datastores that satisfy it
		f.policies.set(asked.Name, asked.Names)
	case "POST /facet/privileges": // those that the user lacks
		f.denied.deny(asked.Names)
	case "POST /facet/forget-tasks":
		forgetTasks()
	case "POST /facet/host":
		resizeHost(simulator.Map.FindByName(asked.Name, refsOf("HostSystem")).(*simulator.HostSystem), asked.Cores, asked.MemoryMiB)
	case "POST /facet/datastore":
		f.books.take(simulator.Map.FindByName(asked.Name, refsOf("Datastore")).Reference(), asked.FreeGiB*gib)
	default:
		http.NotFound(w, r)
	}
}

func (f *front) names() []string {
	names := []string{}
	for key := range f.inFlight {
		names = append(names, key)
	}
	return names
}

func refsOf(kind string) []types.ManagedObjectReference {
	var refs []types.ManagedObjectReference
	for _, entity := range simulator.Map.All(kind) {
		refs = append(refs, entity.Reference())
	}
	return refs
}

// forgetTasks does what a real vCenter does some minutes after a task has ended.
func forgetTasks() {
	manager := simulator.Map.Get(types.ManagedObjectReference{Type: "TaskManager", Value: "TaskManager"}).(*simulator.TaskManager)
	for _, ref := range append([]types.ManagedObjectReference(nil), manager.RecentTask...) {
		task, ok := simulator.Map.Get(ref).(*simulator.Task)
		if ok && (task.Info.State == types.TaskInfoStateSuccess || task.Info.State == types.TaskInfoStateError) {
			simulator.Map.Remove(ref)
		}
	}
}
