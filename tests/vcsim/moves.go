package main

import (
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const moveSteps = 20 // progress is told as often while a move is in flight

// relocate moves a VM as a real vCenter does: one move of a VM at a time, in flight for as long as asked, and with its
// files; the simulator changes host, datastore and pool at once, and no list of what stands where.
func (f *front) relocate(w http.ResponseWriter, r *http.Request, body []byte) {
	asked := method(body)
	if asked == nil {
		f.ask(r, body).send(w)
		return
	}
	vm, ok := simulator.Map.Get(asked.This).(*simulator.VirtualMachine)
	if !ok {
		f.ask(r, body).send(w)
		return
	}
	spec := asked.Body.(*types.RelocateVM_Task).Spec
	for _, ref := range []*types.ManagedObjectReference{spec.Datastore, spec.Host, spec.Pool} {
		if ref != nil && simulator.Map.Get(*ref) == nil { // the simulator dies of it
			sendFault(w, "ManagedObjectNotFound", fmt.Sprintf(`<obj type="%s">%s</obj>`, ref.Type, ref.Value), "")
			return
		}
	}
	f.mu.Lock()
	other, busy := f.moving[vm.Self]
	delay := f.moveDelay
	if busy {
		f.mu.Unlock()
		sendFault(w, "TaskInProgress", fmt.Sprintf(`<task type="Task">%s</task>`, other.Value), "Another task is already in progress.")
		return
	}
	if fault := f.noSpaceToMove(vm, spec); fault != nil {
		f.mu.Unlock()
		sendTask(w, "RelocateVM_Task", failedTask(vm, "relocate", fault))
		return
	}
	if delay <= 0 {
		defer f.mu.Unlock()
		f.relocateNow(r, body, vm, spec).send(w)
		return
	}
	task := simulator.CreateTask(vm, "relocate", nil)
	f.moving[vm.Self] = task.Self
	f.mu.Unlock()
	simulator.Map.Update(task, []types.PropertyChange{
		{Name: "info.startTime", Val: time.Now()},
		{Name: "info.state", Val: types.TaskInfoStateRunning},
		{Name: "info.progress", Val: int32(0)},
	})
	simulator.Map.Update(vm, []types.PropertyChange{{Name: "recentTask", Val: []types.ManagedObjectReference{task.Self}}})
	later := r.Clone(simulatorContext)
	go f.relocateLater(later, body, vm, spec, task, delay)
	sendTask(w, "RelocateVM_Task", task.Self)
}

func (f *front) relocateLater(r *http.Request, body []byte, vm *simulator.VirtualMachine, spec types.VirtualMachineRelocateSpec, task *simulator.Task, delay time.Duration) {
	for step := 1; step <= moveSteps; step++ {
		<-time.After(delay / moveSteps)
		progress := int32(99 * step / moveSteps)
		simulator.Map.Update(task, []types.PropertyChange{{Name: "info.progress", Val: progress}})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.moving, vm.Self)
	if simulator.Map.Get(vm.Self) == nil {
		finish(task, failed(vm, &types.ManagedObjectNotFound{Obj: vm.Self}))
		return
	}
	finish(task, f.relocateNow(r, body, vm, spec).task())
}

func failed(vm *simulator.VirtualMachine, reason types.BaseMethodFault) *simulator.Task {
	ref := failedTask(vm, "relocate", reason)
	return simulator.Map.Get(ref).(*simulator.Task)
}

// relocateNow also tells hosts, pools and datastores who stands there now, and moves the VM's files.
func (f *front) relocateNow(r *http.Request, body []byte, vm *simulator.VirtualMachine, spec types.VirtualMachineRelocateSpec) answer {
	host, pool, stores := *vm.Runtime.Host, vm.ResourcePool, append([]types.ManagedObjectReference(nil), vm.Datastore...)
	moved := f.ask(r, body)
	task := moved.task()
	if task == nil || task.Info.State != types.TaskInfoStateSuccess {
		return moved
	}
	if spec.Host != nil {
		stands(vm, host, false)
		stands(vm, *spec.Host, true)
	}
	if spec.Pool != nil {
		if pool != nil {
			stands(vm, *pool, false)
		}
		stands(vm, *spec.Pool, true)
	}
	if spec.Datastore != nil {
		for _, store := range stores {
			stands(vm, store, false)
		}
		carryFiles(vm, spec)
		for _, store := range vm.Datastore {
			stands(vm, store, true)
		}
	}
	f.books.settle(vm.Self)
	return moved
}

// stands writes a VM into, or out of, the list of what is on a host, in a pool, on a datastore.
func stands(vm *simulator.VirtualMachine, place types.ManagedObjectReference, there bool) {
	var list *[]types.ManagedObjectReference
	found := simulator.Map.Get(place)
	switch one := found.(type) {
	case *simulator.HostSystem:
		list = &one.Vm
	case *simulator.ResourcePool:
		list = &one.Vm
	case *simulator.VirtualApp:
		list = &one.Vm
	case *simulator.Datastore:
		list = &one.Vm
	default:
		return
	}
	if there {
		simulator.Map.AddReference(found, list, vm.Self)
	} else {
		simulator.Map.RemoveReference(found, list, vm.Self)
	}
}

// carryFiles gives a VM's configuration and disks their new datastore; disks that the spec places themselves go there.
func carryFiles(vm *simulator.VirtualMachine, spec types.VirtualMachineRelocateSpec) {
	target := simulator.Map.Get(*spec.Datastore).(*simulator.Datastore)
	home := datastoreOf(vm.Config.Files.VmPathName)
	if home != nil && home.Self != target.Self {
		folder := path.Dir(pathOf(vm.Config.Files.VmPathName))
		_ = os.Rename(filepath.Join(urlOf(home), folder), filepath.Join(urlOf(target), folder))
	}
	placed := map[int32]types.ManagedObjectReference{}
	for _, locator := range spec.Disk {
		placed[locator.DiskId] = locator.Datastore
	}
	stores := []types.ManagedObjectReference{target.Self}
	devices := copied(vm.Config.Hardware.Device)
	for _, device := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		store := target
		if ref, ok := placed[device.GetVirtualDevice().Key]; ok {
			store = simulator.Map.Get(ref).(*simulator.Datastore)
		}
		backing := device.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo()
		ref := store.Self
		backing.Datastore, backing.FileName = &ref, onto(store, backing.FileName)
		if simulator.FindReference(stores, ref) == nil {
			stores = append(stores, ref)
		}
	}
	files := vm.Config.Files
	for _, name := range []*string{&files.VmPathName, &files.SnapshotDirectory, &files.SuspendDirectory, &files.LogDirectory} {
		*name = onto(target, *name)
	}
	simulator.Map.Update(vm, []types.PropertyChange{
		{Name: "config.files", Val: files},
		{Name: "summary.config.vmPathName", Val: files.VmPathName},
		{Name: "config.hardware.device", Val: []types.BaseVirtualDevice(devices)},
		{Name: "datastore", Val: stores},
	})
}

func (f *front) noSpaceToMove(vm *simulator.VirtualMachine, spec types.VirtualMachineRelocateSpec) types.BaseMethodFault {
	if spec.Datastore == nil || simulator.FindReference(vm.Datastore, *spec.Datastore) != nil {
		return nil
	}
	asked := int64(0)
	for _, disk := range disksOf(vm) {
		asked += disk.CapacityInKB * 1024
	}
	if asked > f.books.free(*spec.Datastore) {
		return &types.NoDiskSpace{FileFault: types.FileFault{File: vm.Name}}
	}
	return nil
}

// mount lets a host reach a datastore, or not any more.
func mount(host *simulator.HostSystem, store types.ManagedObjectReference, mounted bool) {
	left := []types.ManagedObjectReference{}
	for _, ref := range host.Datastore {
		if ref != store {
			left = append(left, ref)
		}
	}
	if mounted {
		left = append(left, store)
	}
	simulator.Map.Update(host, []types.PropertyChange{{Name: "datastore", Val: left}})
}

func onto(store *simulator.Datastore, file string) string {
	if file == "" {
		return ""
	}
	return fmt.Sprintf("[%s] %s", store.Name, pathOf(file))
}

func pathOf(file string) string {
	var found object.DatastorePath
	found.FromString(file)
	return found.Path
}

func datastoreOf(file string) *simulator.Datastore {
	var found object.DatastorePath
	found.FromString(file)
	for _, entity := range simulator.Map.All("Datastore") {
		if store := entity.(*simulator.Datastore); store.Name == found.Datastore {
			return store
		}
	}
	return nil
}

func urlOf(store *simulator.Datastore) string {
	return strings.TrimPrefix(store.Info.GetDatastoreInfo().Url, "file://")
}
