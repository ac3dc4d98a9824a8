package main

import (
	"encoding/binary"
	"flag"
	"net"
	"net/http"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

var guestNetwork = flag.String("guest-network", "", "guests that are powered on tell an address of it at once, e.g. 10.77.0.0/16")

// addresses hands out one after the other, as a DHCP server that nobody else uses.
type addresses struct {
	mu   sync.Mutex
	last uint32
}

func (a *addresses) next() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, network, err := net.ParseCIDR(*guestNetwork)
	must(err)
	a.last++
	address := make(net.IP, net.IPv4len)
	binary.BigEndian.PutUint32(address, binary.BigEndian.Uint32(network.IP.To4())+a.last)
	return address.String()
}

// powerOn lets the guest of a VM that has come on tell its address. A real one takes its time to boot.
func (f *front) powerOn(w http.ResponseWriter, r *http.Request, body []byte) {
	answer := f.ask(r, body)
	if asked := method(body); asked != nil && *guestNetwork != "" {
		vm, ok := simulator.Map.Get(asked.This).(*simulator.VirtualMachine)
		if task := answer.task(); ok && task != nil && task.Info.State == types.TaskInfoStateSuccess {
			simulator.Map.Update(vm, []types.PropertyChange{{Name: "guest.ipAddress", Val: f.addresses.next()}})
		}
	}
	answer.send(w)
}
