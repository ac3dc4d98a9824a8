package main

import (
	"reflect"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

const gib = int64(1) << 30

// prepare gives the model hosts, disks and datastores of a size that is worth a test.
func prepare() {
	about := &simulator.Map.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content.About
	about.FullName += " (govmomi simulator)" // nothing pretends
	if *instanceUUID != "" {
		about.InstanceUuid = *instanceUUID
	}
	for _, entity := range simulator.Map.All("HostSystem") {
		resizeHost(entity.(*simulator.HostSystem), int16(*hostCores), *hostMemoryMiB)
	}
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		vm.Config.Hardware.Device = copied(vm.Config.Hardware.Device)
		for _, disk := range disksOf(vm) {
			disk.CapacityInBytes = *templateGiB * gib
			disk.CapacityInKB = disk.CapacityInBytes / 1024
		}
	}
}

func resizeHost(host *simulator.HostSystem, cores int16, memoryMiB int64) {
	hardware := *host.Hardware
	hardware.CpuInfo.NumCpuCores = cores
	hardware.CpuInfo.NumCpuThreads = cores
	hardware.MemorySize = memoryMiB << 20
	summary := *host.Summary.Hardware
	summary.NumCpuCores = cores
	summary.NumCpuThreads = cores
	summary.MemorySize = memoryMiB << 20
	host.Hardware, host.Summary.Hardware = &hardware, &summary
	simulator.Map.Update(host, []types.PropertyChange{
		{Name: "hardware.cpuInfo.numCpuCores", Val: cores},
		{Name: "hardware.memorySize", Val: hardware.MemorySize},
		{Name: "summary.hardware.numCpuCores", Val: cores},
		{Name: "summary.hardware.memorySize", Val: hardware.MemorySize},
	})
}

func disksOf(vm *simulator.VirtualMachine) []*types.VirtualDisk {
	var disks []*types.VirtualDisk
	for _, device := range object.VirtualDeviceList(vm.Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil)) {
		disks = append(disks, device.(*types.VirtualDisk))
	}
	return disks
}

// The simulator counts a disk again with every edit. The books here say what is true: capacity less the disks there are.
type books struct {
	mu       sync.Mutex
	disks    map[types.ManagedObjectReference]entry
	used     map[types.ManagedObjectReference]int64 // by datastore
	taken    map[types.ManagedObjectReference]int64 // by others than VMs
	capacity int64
}

type entry struct {
	datastore types.ManagedObjectReference
	bytes     int64
}

func newBooks(capacity int64) *books {
	b := &books{
		disks:    map[types.ManagedObjectReference]entry{},
		used:     map[types.ManagedObjectReference]int64{},
		taken:    map[types.ManagedObjectReference]int64{},
		capacity: capacity,
	}
	for _, entity := range simulator.Map.All("VirtualMachine") {
		b.settle(entity.Reference())
	}
	return b
}

// settle looks at one VM again (it may be new, changed or gone) and writes every datastore's free space.
func (b *books) settle(ref types.ManagedObjectReference) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.disks[ref]
	b.used[old.datastore] -= old.bytes
	delete(b.disks, ref)
	if vm, ok := simulator.Map.Get(ref).(*simulator.VirtualMachine); ok && len(vm.Datastore) > 0 {
		now := entry{datastore: vm.Datastore[0]}
		for _, disk := range disksOf(vm) {
			now.bytes += disk.CapacityInKB * 1024
		}
		b.disks[ref] = now
		b.used[now.datastore] += now.bytes
	}
	b.write()
}

func (b *books) take(ref types.ManagedObjectReference, freeBytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken[ref] = b.capacity - b.used[ref] - freeBytes
	b.write()
}

func (b *books) free(ref types.ManagedObjectReference) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.capacity - b.used[ref] - b.taken[ref]
}

func (b *books) write() {
	for _, entity := range simulator.Map.All("Datastore") {
		store := entity.(*simulator.Datastore)
		free := b.capacity - b.used[store.Self] - b.taken[store.Self]
		if free < 0 {
			free = 0
		}
		if store.Summary.Capacity == b.capacity && store.Summary.FreeSpace == free {
			continue
		}
		info := store.Info.GetDatastoreInfo()
		info.FreeSpace = free
		simulator.Map.Update(store, []types.PropertyChange{
			{Name: "summary.capacity", Val: b.capacity},
			{Name: "summary.freeSpace", Val: free},
		})
	}
}

// tidy makes extraConfig what a real vCenter keeps (one value a key, the last; "" deletes), and tells the watchers what
// the simulator changes in silence: CPU, memory, extraConfig.
func tidy(vm *simulator.VirtualMachine) {
	simulator.Map.WithLock(vm, func() {
		last := map[string]types.BaseOptionValue{}
		var order []string
		for _, option := range vm.Config.ExtraConfig {
			key := option.GetOptionValue().Key
			if _, seen := last[key]; !seen {
				order = append(order, key)
			}
			last[key] = option
		}
		var kept []types.BaseOptionValue
		for _, key := range order {
			if value := last[key].GetOptionValue().Value; value != "" && value != nil {
				kept = append(kept, last[key])
			}
		}
		simulator.Map.Update(vm, []types.PropertyChange{
			{Name: "config.extraConfig", Val: kept},
			{Name: "config.hardware.numCPU", Val: vm.Config.Hardware.NumCPU},
			{Name: "config.hardware.memoryMB", Val: vm.Config.Hardware.MemoryMB},
		})
	})
}

// childNamed says which object in a folder bears a name.
func childNamed(folder types.ManagedObjectReference, name string) (types.ManagedObjectReference, bool) {
	found, ok := simulator.Map.Get(folder).(*simulator.Folder)
	if !ok {
		return types.ManagedObjectReference{}, false
	}
	for _, ref := range append([]types.ManagedObjectReference(nil), found.ChildEntity...) {
		if entity, ok := simulator.Map.Get(ref).(mo.Entity); ok && entity.Entity().Name == name {
			return ref, true
		}
	}
	return types.ManagedObjectReference{}, false
}

// copied is a deep copy: the simulator's clones share their devices with the template.
func copied(devices object.VirtualDeviceList) object.VirtualDeviceList {
	return deep(reflect.ValueOf(devices)).Interface().(object.VirtualDeviceList)
}

func deep(value reflect.Value) reflect.Value {
	switch value.Kind() {
	case reflect.Ptr:
		if value.IsNil() {
			return value
		}
		made := reflect.New(value.Type().Elem())
		made.Elem().Set(deep(value.Elem()))
		return made
	case reflect.Interface:
		if value.IsNil() {
			return value
		}
		made := reflect.New(value.Type()).Elem()
		made.Set(deep(value.Elem()))
		return made
	case reflect.Slice:
		if value.IsNil() {
			return value
		}
		made := reflect.MakeSlice(value.Type(), value.Len(), value.Len())
		for i := 0; i < value.Len(); i++ {
			made.Index(i).Set(deep(value.Index(i)))
		}
		return made
	case reflect.Struct:
		made := reflect.New(value.Type()).Elem()
		made.Set(value)
		for i := 0; i < value.NumField(); i++ {
			if made.Field(i).CanSet() {
				made.Field(i).Set(deep(value.Field(i)))
			}
		}
		return made
	default:
		return value
	}
}
