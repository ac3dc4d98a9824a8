// A vCenter to test against: govmomi's simulator with a front end that behaves where the simulator is too kind.
//
// See README.md for what differs from a real vCenter, and for the command line.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/vmware/govmomi/pbm/simulator"
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
)

var (
	listen        = flag.String("l", "127.0.0.1:8989", "address to listen on; port 0 picks a free one")
	username      = flag.String("username", "user", "the only user")
	password      = flag.String("password", "pass", "its password")
	certFile      = flag.String("cert", "", "PEM certificate; without it one is made for 127.0.0.1 and localhost")
	keyFile       = flag.String("key", "", "PEM key of -cert")
	caFile        = flag.String("ca-file", "ca.pem", "where the made certificate's CA is written")
	instanceUUID  = flag.String("instance-uuid", "", "the vCenter's instanceUuid; empty keeps the simulator's")
	datacenters   = flag.Int("dc", 1, "datacenters")
	clusters      = flag.Int("clusters", 1, "vSphere clusters per datacenter")
	hosts         = flag.Int("hosts", 32, "hosts per vSphere cluster")
	standalone    = flag.Int("standalone-hosts", 1, "standalone hosts per datacenter")
	machines      = flag.Int("vms", 2, "VMs per resource pool")
	datastores    = flag.Int("datastores", 1, "datastores")
	portgroups    = flag.Int("portgroups", 1, "distributed port groups per datacenter")
	hostCores     = flag.Int("host-cores", 32, "cores per host")
	hostMemoryMiB = flag.Int64("host-memory-mib", 256*1024, "memory per host")
	datastoreGiB  = flag.Int64("datastore-gib", 16*1024, "capacity per datastore")
	templateGiB   = flag.Int64("template-gib", 10, "disk of the VMs that are there from the start")
	cloneDelay    = flag.Duration("clone-delay", 0, "how long a clone stays in flight")
	moveDelay     = flag.Duration("move-delay", 0, "how long a move stays in flight")
	verbose       = flag.Bool("v", false, "log what the simulator logs")
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "vcsim:", err)
		os.Exit(1)
	}
}

func main() {
	flag.Parse()
	if !*verbose {
		log.SetOutput(io.Discard)
	}
	model := simulator.VPX()
	model.Datacenter, model.Cluster, model.ClusterHost, model.Host = *datacenters, *clusters, *hosts, *standalone
	model.Machine, model.Datastore, model.Portgroup = *machines, *datastores, *portgroups
	must(model.Create())
	defer model.Remove()
	prepare()

	// The library's own server needs a certificate of its choosing: let it register its handlers, then serve them here.
	model.Service.RegisterEndpoints = true
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(*username, *password)}
	model.Service.NewServer().Close()

	certificate, err := loadCertificate()
	must(err)
	listener, err := net.Listen("tcp", *listen)
	must(err)
	front := newFront(model.Service.ServeMux, *cloneDelay, *moveDelay)
	server := &http.Server{
		Handler:           front,
		ReadHeaderTimeout: 30 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}},
		ErrorLog:          log.New(os.Stderr, "", log.LstdFlags), // a panic of the simulator is always told
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-stop
		_ = server.Close()
	}()
	simulator.Map.SessionManager().ServiceHostName = listener.Addr().String()
	fmt.Printf("vcsim listens on https://%s/sdk\n", listener.Addr())
	_ = server.ServeTLS(listener, "", "")
}
