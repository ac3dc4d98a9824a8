package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

var (
	methodOf = regexp.MustCompile(`Body>\s*<(?:\w+:)?(\w+)`)
	taskOf   = regexp.MustCompile(`type="Task"[^>]*>(task-\d+)<`)
)

// Methods that change nothing at the site: every other one is counted as a write.
var reads = map[string]bool{}

func init() {
	for _, name := range strings.Fields(`RetrieveServiceContent RetrieveProperties RetrievePropertiesEx
		ContinueRetrievePropertiesEx CancelRetrievePropertiesEx CreateContainerView DestroyView CreateFilter
		DestroyPropertyFilter CreatePropertyCollector DestroyPropertyCollector WaitForUpdates WaitForUpdatesEx
		CancelWaitForUpdates CheckForUpdates Login Logout SessionIsActive TerminateSession FindByUuid FindAllByUuid
		FindChild FindByInventoryPath CurrentTime QueryEvents QueryOptions CreateCollectorForEvents Fetch
		HasPrivilegeOnEntities FetchUserPrivilegeOnEntities RetrieveEntityPermissions
		PbmRetrieveServiceContent PbmQueryProfile PbmRetrieveContent PbmQueryMatchingHub`) {
		reads[name] = true
	}
}

// front stands before the simulator's own handlers.
type front struct {
	inner     http.Handler
	books     *books
	faults    faults
	addresses addresses
	policies  policies
	denied    privileges
	mu        sync.Mutex
	delay     time.Duration
	inFlight  map[string]types.ManagedObjectReference // folder + name -> the VM that is being made
	templates map[string]*sync.Mutex
	moveDelay time.Duration
	moving    map[types.ManagedObjectReference]types.ManagedObjectReference // VM -> the task that moves it
	calls     map[string]int
	writes    int
}

func newFront(inner http.Handler, delay, moveDelay time.Duration) *front {
	return &front{
		inner:     inner,
		books:     newBooks(*datastoreGiB * gib),
		delay:     delay,
		inFlight:  map[string]types.ManagedObjectReference{},
		templates: map[string]*sync.Mutex{},
		moveDelay: moveDelay,
		moving:    map[types.ManagedObjectReference]types.ManagedObjectReference{},
		calls:     map[string]int{},
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/facet/") {
		f.admin(w, r)
		return
	}
	if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/pbm") {
		f.policyService(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/rest/") {
		f.rest(w, r)
		return
	}
	if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/sdk") {
		f.inner.ServeHTTP(w, r)
		return
	}
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
	if f.faults.next("lost "+name, body) != nil { // carried out, and the caller never hears of it
		f.carryOut(httptest.NewRecorder(), r, name, body)
		hangUp(w)
		return
	}
	f.carryOut(w, r, name, body)
}

func (f *front) carryOut(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	switch name {
	case "CloneVM_Task":
		f.clone(w, r, body)
	case "CreateVM_Task":
		f.create(w, r, body)
	case "ReconfigVM_Task":
		f.reconfigure(w, r, body)
	case "RelocateVM_Task":
		f.relocate(w, r, body)
	case "PowerOnVM_Task":
		f.powerOn(w, r, body)
	case "HasPrivilegeOnEntities":
		f.hasPrivileges(w, r, body)
	case "AttachDisk_Task":
		f.attachDisk(w, r, body)
	case "ExtendDisk_Task":
		f.extendDisk(w, r, body)
	case "RetrieveVStorageObject":
		f.readDisk(w, r, body)
	case "ShutdownGuest":
		f.shutDown(w, r, body)
	case "Destroy_Task", "UnregisterVM":
		if f.groupInUse(w, body) {
			return
		}
		answer := f.ask(r, body)
		if this := method(body); this != nil && this.This.Type == "VirtualMachine" {
			f.books.settle(this.This)
		}
		answer.send(w)
	default:
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.inner.ServeHTTP(w, r)
	}
}

func (f *front) count(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[name]++
	if !reads[name] {
		f.writes++
	}
}

// answer is what the simulator said to a call.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) send(w http.ResponseWriter) {
	for key, values := range a.header {
		w.Header()[key] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// task is the simulator's task that the answer names; nil for a fault.
func (a answer) task() *simulator.Task {
	found := taskOf.FindSubmatch(a.body)
	if found == nil {
		return nil
	}
	task, _ := simulator.Map.Get(types.ManagedObjectReference{Type: "Task", Value: string(found[1])}).(*simulator.Task)
	return task
}

func (f *front) ask(r *http.Request, body []byte) answer {
	inner := r.Clone(r.Context())
	inner.Body = io.NopCloser(bytes.NewReader(body))
	inner.ContentLength = int64(len(body))
	recorder := httptest.NewRecorder()
	f.inner.ServeHTTP(recorder, inner)
	return answer{recorder.Code, recorder.Header(), recorder.Body.Bytes()}
}

func method(body []byte) *simulator.Method {
	found, err := simulator.UnmarshalBody(types.TypeFunc(), body)
	if err != nil {
		return nil
	}
	return found
}

// --- a folder holds a name once ------------------------------------------------------------------------------------

// reserve takes a name in a folder until release; a taken one is answered with DuplicateName, as a real vCenter does.
func (f *front) reserve(w http.ResponseWriter, folder types.ManagedObjectReference, name string) (release func(), ok bool) {
	key := folder.Value + "/" + name
	f.mu.Lock()
	defer f.mu.Unlock()
	if making, taken := f.inFlight[key]; taken {
		sendDuplicate(w, name, making)
		return nil, false
	}
	if there, taken := childNamed(folder, name); taken {
		sendDuplicate(w, name, there)
		return nil, false
	}
	f.inFlight[key] = types.ManagedObjectReference{Type: "VirtualMachine", Value: fmt.Sprintf("vm-9%06d", f.calls["CloneVM_Task"])}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.inFlight, key)
	}, true
}

func (f *front) create(w http.ResponseWriter, r *http.Request, body []byte) {
	asked := method(body)
	if asked == nil {
		f.ask(r, body).send(w)
		return
	}
	release, ok := f.reserve(w, asked.This, asked.Body.(*types.CreateVM_Task).Config.Name)
	if !ok {
		return
	}
	defer release()
	answer := f.ask(r, body)
	f.settleResult(answer)
	answer.send(w)
}

func (f *front) settleResult(a answer) {
	if task := a.task(); task != nil {
		if ref, ok := task.Info.Result.(types.ManagedObjectReference); ok {
			f.books.settle(ref)
		}
	}
}

// --- clones take their time ----------------------------------------------------------------------------------------

func (f *front) clone(w http.ResponseWriter, r *http.Request, body []byte) {
	asked := method(body)
	if asked == nil {
		f.ask(r, body).send(w)
		return
	}
	call := asked.Body.(*types.CloneVM_Task)
	template, ok := simulator.Map.Get(asked.This).(*simulator.VirtualMachine)
	if !ok {
		sendFault(w, "ManagedObjectNotFound", fmt.Sprintf(`<obj type="VirtualMachine">%s</obj>`, asked.This.Value), "")
		return
	}
	for _, ref := range []*types.ManagedObjectReference{&call.Folder, call.Spec.Location.Datastore, call.Spec.Location.Host, call.Spec.Location.Pool} {
		if ref != nil && simulator.Map.Get(*ref) == nil { // the simulator dies of it
			sendFault(w, "ManagedObjectNotFound", fmt.Sprintf(`<obj type="%s">%s</obj>`, ref.Type, ref.Value), "")
			return
		}
	}
	release, ok := f.reserve(w, call.Folder, call.Name)
	if !ok {
		return
	}
	if fault := f.noSpace(template, call); fault != nil {
		release()
		sendTask(w, "CloneVM_Task", failedTask(template, "cloneVm", fault))
		return
	}
	f.mu.Lock()
	delay := f.delay
	f.mu.Unlock()
	if delay <= 0 {
		defer release()
		f.cloneNow(r, body, template).send(w)
		return
	}
	task := simulator.CreateTask(template, "cloneVm", nil)
	simulator.Map.Update(task, []types.PropertyChange{
		{Name: "info.startTime", Val: time.Now()},
		{Name: "info.state", Val: types.TaskInfoStateRunning},
		{Name: "info.progress", Val: int32(10)},
	})
	later := r.Clone(simulatorContext)
	go func() {
		defer release()
		<-time.After(delay)
		finish(task, f.cloneNow(later, body, template).task())
	}()
	sendTask(w, "CloneVM_Task", task.Self)
}

// cloneNow keeps the template's devices its own.
func (f *front) cloneNow(r *http.Request, body []byte, template *simulator.VirtualMachine) answer {
	f.mu.Lock()
	lock := f.templates[template.Self.Value]
	if lock == nil {
		lock = &sync.Mutex{}
		f.templates[template.Self.Value] = lock
	}
	f.mu.Unlock()
	lock.Lock()
	defer lock.Unlock()
	original := template.Config.Hardware.Device
	template.Config.Hardware.Device = copied(original)
	answer := f.ask(r, body)
	template.Config.Hardware.Device = original
	f.settleResult(answer)
	return answer
}

func (f *front) noSpace(template *simulator.VirtualMachine, call *types.CloneVM_Task) types.BaseMethodFault {
	if call.Spec.Location.Datastore == nil {
		return nil
	}
	asked := int64(0)
	for _, disk := range disksOf(template) {
		asked += disk.CapacityInKB * 1024
	}
	if asked > f.books.free(*call.Spec.Location.Datastore) {
		return &types.NoDiskSpace{FileFault: types.FileFault{File: call.Name}}
	}
	return nil
}

func (f *front) reconfigure(w http.ResponseWriter, r *http.Request, body []byte) {
	answer := f.ask(r, body)
	if asked := method(body); asked != nil {
		if vm, ok := simulator.Map.Get(asked.This).(*simulator.VirtualMachine); ok {
			tidy(vm)
			f.books.settle(vm.Self)
		}
	}
	answer.send(w)
}
