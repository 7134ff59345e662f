package doctor

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"gorun/launcher/inventory"
	"gorun/launcher/kernellog"
)

// Subject is what to examine.
type Subject struct {
	Node     string
	Programs []Program // the caller knows how to load them
	Device   string    // cpu or cuda
	Disks    []Disk    // Path and Use
	Shared   string    // the folder that all nodes share; "" = none
	Address  string    // of this node for the others; "" = the one of the default route
}

// Gather examines this node.
func Gather(s Subject) *Facts {
	f := &Facts{Node: s.Node, Programs: s.Programs, Device: s.Device}
	f.gpus()
	f.network(s.Address)
	f.limits()
	f.Memory = memory("/proc/meminfo")
	f.Shared = room("/dev/shm")
	for _, d := range s.Disks {
		d.Path = existing(d.Path)
		d.Room = room(d.Path)
		f.Disks = append(f.Disks, d)
	}
	if s.Shared != "" {
		f.Folder = tryFolder(s.Shared)
	}
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	f.Unsynced = err == nil && state == unix.TIME_ERROR
	return f
}

// gpus asks the driver. Without one there is nothing to say of GPUs, unless ranks would use them.
func (f *Facts) gpus() {
	driver, err := inventory.Open()
	if err != nil {
		if f.Device == "cuda" || !errors.Is(err, inventory.ErrNoDriver) {
			f.DriverErr = err.Error()
		}
		return
	}
	f.Driver = driver.Version
	f.GPUs, err = driver.GPUs()
	if err = errors.Join(err, driver.Close()); err != nil {
		f.DriverErr = err.Error()
		return
	}
	list, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	visible, err := inventory.Visible(f.GPUs, list, set)
	if err != nil {
		f.DriverErr = err.Error()
		return
	}
	f.GPUs = visible
	if f.Xid, err = xids(kernellog.Path); err != nil {
		f.XidErr = err.Error()
	}
}
