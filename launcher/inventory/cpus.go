package inventory

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sysfs is where the kernel describes the hardware: /sys.
type sysfs string

// numaNode is the NUMA node that a PCI device is at; -1 if the kernel does not say.
func (s sysfs) numaNode(pci string) int {
	b, err := os.ReadFile(filepath.Join(string(s), "bus/pci/devices", pci, "numa_node"))
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// CPUs are those of a NUMA node; none if it is not known.
func (d *Driver) CPUs(numaNode int) ([]int, error) {
	if numaNode < 0 {
		return nil, nil
	}
	path := filepath.Join(string(d.sys), "devices/system/node", fmt.Sprint("node", numaNode), "cpulist")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("CPUs of NUMA node %d: %w", numaNode, err)
	}
	cpus, err := parseCPUs(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cpus, nil
}

// maxCPU bounds what is believed of a list of CPUs; it is the kernel's own bound (CONFIG_NR_CPUS).
const maxCPU = 8192

// parseCPUs reads the kernel's lists: "0-3,8".
func parseCPUs(list string) ([]int, error) {
	var out []int
	if list == "" {
		return nil, nil // a NUMA node with memory only
	}
	for part := range strings.SplitSeq(list, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		lo, err1 := strconv.ParseUint(first, 10, 16)
		hi, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || hi >= maxCPU || lo > hi {
			return nil, fmt.Errorf("%q is no list of CPUs", list)
		}
		for cpu := lo; cpu <= hi; cpu++ {
			out = append(out, int(cpu))
		}
		if len(out) > maxCPU {
			return nil, fmt.Errorf("%q has more than %d CPUs", list, maxCPU)
		}
	}
	return out, nil
}
