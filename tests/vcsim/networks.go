package main

import (
	"fmt"
	"net/http"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// groupInUse refuses to destroy a port group that a VM's card is on, as a real vCenter does; the simulator would.
func (f *front) groupInUse(w http.ResponseWriter, body []byte) bool {
	asked := method(body)
	if asked == nil || asked.This.Type != "DistributedVirtualPortgroup" {
		return false
	}
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm, ok := entity.(*simulator.VirtualMachine)
		if !ok || vm.Config == nil {
			continue
		}
		for _, device := range vm.Config.Hardware.Device {
			backing, ok := device.GetVirtualDevice().Backing.(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo)
			if ok && backing.Port.PortgroupKey == asked.This.Value {
				detail := fmt.Sprintf("<type>%s</type><name>%s</name>", asked.This.Type, asked.This.Value)
				sendFault(w, "ResourceInUse", detail, "The resource is in use.")
				return true
			}
		}
	}
	return false
}
