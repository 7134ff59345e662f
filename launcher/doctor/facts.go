package doctor

import (
	"time"

	"gorun/launcher/inventory"
)

// Facts are what a node says of itself. A text in a field named Err says why the fact beside it is missing.
type Facts struct {
	Node      string    `json:"node"`
	Programs  []Program `json:"programs"` // gorun first, then the libraries that ranks load
	Device    string    `json:"device"`   // that ranks would use: cpu or cuda
	Driver    string    `json:"driver,omitempty"`
	DriverErr string    `json:"driver_err,omitempty"` // "" = there is a driver, or none is needed

	GPUs   []inventory.GPU `json:"gpus,omitempty"`
	Xid    []string        `json:"xid,omitempty"` // the last errors of GPUs in the kernel's log
	XidErr string          `json:"xid_err,omitempty"`

	Interfaces []Interface `json:"interfaces"`
	Address    string      `json:"address"` // that other nodes would use; "" = none
	PortErr    string      `json:"port_err,omitempty"`

	OpenFiles uint64  `json:"open_files"` // limit of this process
	Locked    uint64  `json:"locked"`     // bytes of memory that it may lock
	Memory    Room    `json:"memory"`
	Shared    Room    `json:"shared_memory"` // of /dev/shm
	Disks     []Disk  `json:"disks"`
	Folder    *Folder `json:"folder,omitempty"` // that all nodes share
	Unsynced  bool    `json:"clock_unsynchronised,omitempty"`
}

// Program is a file that has to be the same on all nodes.
type Program struct {
	Name    string `json:"name"`
	Path    string `json:"path,omitempty"`
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Err     string `json:"err,omitempty"`
	Fix     string `json:"fix,omitempty"` // of Err
}

// Room is how much there is of something, in bytes.
type Room struct {
	Free  uint64 `json:"free"`
	Total uint64 `json:"total"`
	Err   string `json:"err,omitempty"`
}

// Disk is the file system of a folder.
type Disk struct {
	Path string `json:"path"` // the folder, or its nearest ancestor that exists
	Use  string `json:"use"`  // what gorun keeps there
	Room
}

// Interface is a network interface that is up and not loopback.
type Interface struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	MTU       int      `json:"mtu"`
	Mbit      int      `json:"mbit,omitempty"` // of its link; 0 = it does not say
}

// Folder is how the shared folder behaved.
type Folder struct {
	Path  string        `json:"path"`
	Err   string        `json:"err,omitempty"`
	Took  time.Duration `json:"took"`        // to write, sync, rename and read back a small file
	Ahead time.Duration `json:"clock_ahead"` // of this node's clock, against the clock that the folder's files have
}

// Status is what a finding means for training.
type Status string

// The worst finding is the result.
const (
	OK   Status = "ok"
	Warn Status = "warn" // it works, but slower or less safely
	Fail Status = "fail" // it does not work
)

// Finding is one judgement.
type Finding struct {
	Status Status `json:"status"`
	Node   string `json:"node,omitempty"` // "" = of all nodes
	Check  string `json:"check"`
	Found  string `json:"found"`
	Fix    string `json:"fix,omitempty"` // what to do; "" if all is well
}
