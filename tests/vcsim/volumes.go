package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

var (
	capacityOf = regexp.MustCompile(`<capacityInMB>\d+</capacityInMB>`)
	sizes      = disks{mib: map[string]int64{}}
)

func init() {
	for _, name := range strings.Fields(`ListVStorageObject RetrieveVStorageObject RetrieveSnapshotInfo`) {
		reads[name] = true
	}
}

// disks holds the sizes of First Class Disks that have grown: the simulator keeps the first one.
type disks struct {
	mu  sync.Mutex
	mib map[string]int64
}

func (d *disks) learn(id string, mib int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if mib > d.mib[id] {
		d.mib[id] = mib
	}
}

func (d *disks) of(id string, known int64) int64 {
	d.learn(id, known)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mib[id]
}

// firstClass is the simulator's record of a disk; nil where there is none.
func firstClass(store types.ManagedObjectReference, id types.ID) *types.VStorageObject {
	context := &simulator.Context{Map: simulator.Map}
	manager := simulator.Map.Get(*simulator.Map.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content.VStorageObjectManager)
	found := manager.(*simulator.VcenterVStorageObjectManager).RetrieveVStorageObject(context, &types.RetrieveVStorageObject{Id: id, Datastore: store})
	body := found.(*methods.RetrieveVStorageObjectBody)
	if body.Res == nil {
		return nil
	}
	return &body.Res.Returnval
}

// holderOf is the VM that has a First Class Disk, and its device.
func holderOf(id string) (*simulator.VirtualMachine, *types.VirtualDisk) {
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		for _, device := range vm.Config.Hardware.Device {
			if disk, ok := device.(*types.VirtualDisk); ok && disk.VDiskId != nil && disk.VDiskId.Id == id {
				return vm, disk
			}
		}
	}
	return nil, nil
}

// attachDisk gives a VM a First Class Disk, as a real vCenter does and the simulator does not.
func (f *front) attachDisk(w http.ResponseWriter, r *http.Request, body []byte) {
	asked := method(body)
	vm, ok := simulator.Map.Get(asked.This).(*simulator.VirtualMachine)
	if !ok {
		f.ask(r, body).send(w)
		return
	}
	call := asked.Body.(*types.AttachDisk_Task)
	f.mu.Lock()
	defer f.mu.Unlock()
	disk := firstClass(call.Datastore, call.DiskId)
	store, _ := simulator.Map.Get(call.Datastore).(*simulator.Datastore)
	if disk == nil || store == nil {
		sendTask(w, "AttachDisk_Task", failedTask(vm, "attachDisk", &types.NotFound{}))
		return
	}
	host := simulator.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	if simulator.FindReference(host.Datastore, call.Datastore) == nil {
		sendTask(w, "AttachDisk_Task", failedTask(vm, "attachDisk", &types.CannotAccessVmDisk{}))
		return
	}
	if holder, _ := holderOf(call.DiskId.Id); holder != nil {
		sendTask(w, "AttachDisk_Task", failedTask(vm, "attachDisk", &types.InvalidState{}))
		return
	}
	devices := copied(vm.Config.Hardware.Device)
	mib := sizes.of(call.DiskId.Id, disk.Config.CapacityInMB)
	id := call.DiskId
	made := &types.VirtualDisk{CapacityInKB: mib * 1024, CapacityInBytes: mib << 20, VDiskId: &id}
	made.Key = 2000
	unit := int32(0)
	for devices.FindByKey(made.Key) != nil {
		made.Key++
		unit++
	}
	made.ControllerKey, made.UnitNumber = call.ControllerKey, &unit
	made.DeviceInfo = &types.Description{Label: fmt.Sprintf("disk-%d", made.Key), Summary: "First Class Disk"}
	made.Backing = &types.VirtualDiskFlatVer2BackingInfo{
		DiskMode: "persistent",
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{
			FileName:  disk.Config.Backing.(*types.BaseConfigInfoDiskFileBackingInfo).FilePath,
			Datastore: &call.Datastore,
		},
	}
	stores := vm.Datastore
	if simulator.FindReference(stores, call.Datastore) == nil {
		stores = append(append([]types.ManagedObjectReference(nil), stores...), call.Datastore)
	}
	task := simulator.CreateTask(vm, "attachDisk", nil)
	simulator.Map.Update(vm, []types.PropertyChange{
		{Name: "config.hardware.device", Val: append([]types.BaseVirtualDevice(devices), made)},
		{Name: "datastore", Val: stores},
	})
	stands(vm, call.Datastore, true)
	simulator.Map.Update(task, []types.PropertyChange{{Name: "info.state", Val: types.TaskInfoStateSuccess}})
	sendTask(w, "AttachDisk_Task", task.Self)
}

// extendDisk lets a First Class Disk grow; as on a real vCenter none shrinks.
func (f *front) extendDisk(w http.ResponseWriter, r *http.Request, body []byte) {
	asked := method(body)
	call := asked.Body.(*types.ExtendDisk_Task)
	store, _ := simulator.Map.Get(call.Datastore).(*simulator.Datastore)
	disk := firstClass(call.Datastore, call.Id)
	if store == nil || disk == nil {
		sendFault(w, "NotFound", "", "There is no such disk.")
		return
	}
	task := simulator.CreateTask(store, "extendDisk", nil)
	if call.NewCapacityInMB < sizes.of(call.Id.Id, disk.Config.CapacityInMB) {
		simulator.Map.Update(task, []types.PropertyChange{
			{Name: "info.state", Val: types.TaskInfoStateError},
			{Name: "info.error", Val: &types.LocalizedMethodFault{Fault: &types.InvalidArgument{}}},
		})
	} else {
		sizes.learn(call.Id.Id, call.NewCapacityInMB)
		simulator.Map.Update(task, []types.PropertyChange{{Name: "info.state", Val: types.TaskInfoStateSuccess}})
	}
	sendTask(w, "ExtendDisk_Task", task.Self)
}

// readDisk tells the size that a disk has by now: through the VM that has it, a disk grows as well.
func (f *front) readDisk(w http.ResponseWriter, r *http.Request, body []byte) {
	asked := method(body)
	call := asked.Body.(*types.RetrieveVStorageObject)
	answer := f.ask(r, body)
	if disk := firstClass(call.Datastore, call.Id); disk != nil {
		mib := disk.Config.CapacityInMB
		if _, device := holderOf(call.Id.Id); device != nil && device.CapacityInKB/1024 > mib {
			mib = device.CapacityInKB / 1024
		}
		told := "<capacityInMB>" + strconv.FormatInt(sizes.of(call.Id.Id, mib), 10) + "</capacityInMB>"
		answer.body = capacityOf.ReplaceAll(answer.body, []byte(told))
		answer.header.Del("Content-Length")
	}
	answer.send(w)
}
