package rank

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"gorun/csrc/device"
)

// Device says where to compute.
type Device struct {
	Plugin string // path of the XLA plugin
	CUDA   bool   // the plugin is XLA's for CUDA
	Cache  string // folder of compiled programs; "" = none
	GPU    int    // which GPU, as CUDA_VISIBLE_DEVICES counts
}

// open makes the client.
func (d Device) open() (*device.Client, error) {
	if d.CUDA && d.GPU > 0 {
		if err := d.isolate(); err != nil {
			return nil, err
		}
	}
	return device.Open(device.Config{Plugin: d.Plugin, CUDA: d.CUDA, CacheDir: d.Cache})
}

// isolate makes the GPU the only one that this process sees, before the driver is asked for any: programs are compiled
// for the process's first device, and so are the same in the cache of all ranks.
func (d Device) isolate() error {
	const name = "CUDA_VISIBLE_DEVICES"
	gpu := strconv.Itoa(d.GPU)
	if list := os.Getenv(name); list != "" {
		visible := strings.Split(list, ",")
		if d.GPU >= len(visible) {
			return fmt.Errorf("GPU %d of this node is asked for, but %s = %s shows %d: start fewer ranks", d.GPU, name, list, len(visible))
		}
		gpu = strings.TrimSpace(visible[d.GPU])
	}
	if err := os.Setenv(name, gpu); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
