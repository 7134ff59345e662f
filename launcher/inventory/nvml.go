package inventory

import (
	"errors"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// GPU is one GPU of this node, or one slice of it that MIG made.
type GPU struct {
	Index    int    `json:"index"` // NVML's: by PCI address
	UUID     string `json:"uuid"`
	Name     string `json:"name"`
	Memory   uint64 `json:"memory"`    // bytes
	PCI      string `json:"pci"`       // domain:bus:device.function
	NUMANode int    `json:"numa_node"` // -1 = unknown, or the node has one only
	NVLink   int    `json:"nvlink"`    // GPUs with the same number reach each other by NVLink; -1 = no other
	Health   Health `json:"health"`
	Slices   []GPU  `json:"slices,omitempty"` // MIG's, if it is on; Index is the GPU's
	MIG      bool   `json:"mig,omitempty"`    // it is on: CUDA uses slices only
}

// ErrNoDriver says that there is no NVIDIA driver here: then there are no GPUs to use.
var ErrNoDriver = errors.New("no NVIDIA driver here")

// Driver is an open NVML.
type Driver struct {
	lib     nvml.Interface
	sys     sysfs
	Version string // of the driver
}

// Open loads NVML; the caller closes it. The error is ErrNoDriver if there is none.
func Open() (*Driver, error) { return open(nvml.New(), "/sys") }

func open(lib nvml.Interface, sys sysfs) (*Driver, error) {
	switch ret := lib.Init(); ret {
	case nvml.SUCCESS:
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return nil, fmt.Errorf("%w: libnvidia-ml.so.1 is not installed", ErrNoDriver)
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return nil, fmt.Errorf("%w: NVIDIA's kernel module is not loaded", ErrNoDriver)
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return nil, fmt.Errorf("nvml: libnvidia-ml and the kernel module have different versions: reboot the node after a driver update: %w", ret)
	default:
		return nil, fmt.Errorf("nvml: %w", ret)
	}
	version, ret := lib.SystemGetDriverVersion()
	if ret != nvml.SUCCESS {
		return nil, errors.Join(fmt.Errorf("nvml: version of the driver: %w", ret), closing(lib))
	}
	return &Driver{lib, sys, version}, nil
}

// Close unloads NVML.
func (d *Driver) Close() error { return closing(d.lib) }

func closing(lib nvml.Interface) error {
	if ret := lib.Shutdown(); ret != nvml.SUCCESS {
		return fmt.Errorf("nvml: shutdown: %w", ret)
	}
	return nil
}

// GPUs lists all GPUs that this process may use, by index.
func (d *Driver) GPUs() ([]GPU, error) {
	n, ret := d.lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return nil, fmt.Errorf("nvml: number of GPUs: %w", ret)
	}
	gpus, devices := make([]GPU, n), make([]nvml.Device, n)
	for i := range gpus {
		device, ret := d.lib.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			return nil, fmt.Errorf("nvml: GPU %d: %w (nvidia-smi and the kernel's log tell more)", i, ret)
		}
		gpu, err := d.describe(i, device)
		if err != nil {
			return nil, fmt.Errorf("nvml: GPU %d: %w", i, err)
		}
		gpus[i], devices[i] = gpu, device
	}
	link(gpus, devices)
	return gpus, nil
}

// describe asks for what every GPU can tell, and for what only some can.
func (d *Driver) describe(index int, device nvml.Device) (GPU, error) {
	gpu := GPU{Index: index, NUMANode: -1, NVLink: -1}
	var ret nvml.Return
	if gpu.UUID, ret = device.GetUUID(); ret != nvml.SUCCESS {
		return gpu, fmt.Errorf("UUID: %w", ret)
	}
	if gpu.Name, ret = device.GetName(); ret != nvml.SUCCESS {
		return gpu, fmt.Errorf("name: %w", ret)
	}
	memory, ret := device.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		return gpu, fmt.Errorf("memory: %w", ret)
	}
	gpu.Memory = memory.Total
	pci, ret := device.GetPciInfo()
	if ret != nvml.SUCCESS {
		return gpu, fmt.Errorf("PCI address: %w", ret)
	}
	gpu.PCI = fmt.Sprintf("%04x:%02x:%02x.0", pci.Domain, pci.Bus, pci.Device)
	gpu.NUMANode = d.sys.numaNode(gpu.PCI)
	gpu.Health = health(device)
	if now, _, ret := device.GetMigMode(); ret == nvml.SUCCESS && now == nvml.DEVICE_MIG_ENABLE {
		gpu.MIG = true
		err := slicesOf(&gpu, device)
		return gpu, err
	}
	return gpu, nil
}

// slicesOf lists what MIG made of a GPU.
func slicesOf(gpu *GPU, device nvml.Device) error {
	most, ret := device.GetMaxMigDeviceCount()
	if ret != nvml.SUCCESS {
		return fmt.Errorf("MIG: %w", ret)
	}
	for i := range most {
		slice, ret := device.GetMigDeviceHandleByIndex(i)
		if ret == nvml.ERROR_NOT_FOUND || ret == nvml.ERROR_INVALID_ARGUMENT {
			continue // a place without a slice
		}
		if ret != nvml.SUCCESS {
			return fmt.Errorf("MIG slice %d: %w", i, ret)
		}
		uuid, ret := slice.GetUUID()
		if ret != nvml.SUCCESS {
			return fmt.Errorf("MIG slice %d: UUID: %w", i, ret)
		}
		memory, ret := slice.GetMemoryInfo()
		if ret != nvml.SUCCESS {
			return fmt.Errorf("MIG slice %d: memory: %w", i, ret)
		}
		part := *gpu
		part.UUID, part.Memory, part.Slices = uuid, memory.Total, nil
		gpu.Slices = append(gpu.Slices, part)
	}
	return nil
}

// link finds which GPUs reach each other by NVLink: a group has the number of its first GPU.
func link(gpus []GPU, devices []nvml.Device) {
	for i := range gpus {
		for j := range i {
			status, ret := devices[i].GetP2PStatus(devices[j], nvml.P2P_CAPS_INDEX_NVLINK)
			if ret != nvml.SUCCESS || status != nvml.P2P_STATUS_OK {
				continue
			}
			if gpus[j].NVLink < 0 {
				gpus[j].NVLink = j
			}
			gpus[i].NVLink = gpus[j].NVLink
			break
		}
	}
}
