package main

import (
	"fmt"
	"net/http"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const deaf = "vcsim.deaf" // in a VM's extraConfig: its guest begins to shut down, and never ends

// shutDown asks a guest as a real vCenter does: the simulator powers a VM off also where no tools run in it.
func (f *front) shutDown(w http.ResponseWriter, r *http.Request, body []byte) {
	asked := method(body)
	if asked == nil {
		f.ask(r, body).send(w)
		return
	}
	vm, ok := simulator.Map.Get(asked.This).(*simulator.VirtualMachine)
	if !ok || vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		f.ask(r, body).send(w)
		return
	}
	if vm.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		sendFault(w, "ToolsUnavailable", "", "Cannot complete operation because VMware Tools is not running.")
		return
	}
	for _, option := range vm.Config.ExtraConfig {
		if option.GetOptionValue().Key == deaf {
			simulator.Map.Update(vm, []types.PropertyChange{{Name: "guest.guestState", Val: "shuttingDown"}})
			_, _ = fmt.Fprintf(w, envelope, `<ShutdownGuestResponse xmlns="urn:vim25"/>`)
			return
		}
	}
	f.ask(r, body).send(w)
}
