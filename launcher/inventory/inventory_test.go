package inventory

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

// fake is NVIDIA's own mock of a machine with eight H200, with what it leaves out: two islands of NVLink, GPU 1 hot, GPU
// 2 with errors of its memory, GPU 7 cut by MIG.
func fake(t *testing.T) (*server.Server, sysfs) {
	t.Helper()
	s, sys := dgxh200.New(), t.TempDir()
	for i, d := range s.Devices {
		d := d.(*server.Device)
		d.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) { return nvml.PciInfo{Bus: 0x10 + uint32(i)}, nvml.SUCCESS }
		d.GetUUIDFunc = func() (string, nvml.Return) { return "GPU-" + strings.Repeat(string(rune('a'+i)), 8), nvml.SUCCESS }
		d.GetP2PStatusFunc = func(other nvml.Device, _ nvml.GpuP2PCapsIndex) (nvml.GpuP2PStatus, nvml.Return) {
			if j := slices.Index(s.Devices, other); i/4 == j/4 && i != 7 && j != 7 {
				return nvml.P2P_STATUS_OK, nvml.SUCCESS
			}
			return nvml.P2P_STATUS_NOT_SUPPORTED, nvml.SUCCESS
		}
		d.GetClockInfoFunc = func(nvml.ClockType) (uint32, nvml.Return) { return 1500, nvml.SUCCESS }
		d.GetMaxClockInfoFunc = func(nvml.ClockType) (uint32, nvml.Return) { return 1980, nvml.SUCCESS }
		d.GetCurrentClocksThrottleReasonsFunc = func() (uint64, nvml.Return) {
			if i == 1 {
				return nvml.ClocksThrottleReasonHwThermalSlowdown | nvml.ClocksThrottleReasonSwPowerCap, nvml.SUCCESS
			}
			return nvml.ClocksThrottleReasonGpuIdle, nvml.SUCCESS
		}
		d.GetTotalEccErrorsFunc = func(nvml.MemoryErrorType, nvml.EccCounterType) (uint64, nvml.Return) {
			if i == 2 {
				return 3, nvml.SUCCESS
			}
			return 0, nvml.ERROR_NOT_SUPPORTED
		}
		d.GetRemappedRowsFunc = func() (int, int, bool, bool, nvml.Return) { return 1, 0, i == 2, false, nvml.SUCCESS }
		write(t, filepath.Join(sys, "bus/pci/devices", "0000:1"+string(rune('0'+i))+":00.0", "numa_node"), string(rune('0'+i/4))+"\n")
	}
	cut := s.Devices[7].(*server.Device)
	cut.GetMigModeFunc = func() (int, int, nvml.Return) { return nvml.DEVICE_MIG_ENABLE, nvml.DEVICE_MIG_ENABLE, nvml.SUCCESS }
	cut.GetMaxMigDeviceCountFunc = func() (int, nvml.Return) { return 7, nvml.SUCCESS }
	cut.GetMigDeviceHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i > 1 {
			return nil, nvml.ERROR_NOT_FOUND
		}
		return &mock.Device{
			GetUUIDFunc:       func() (string, nvml.Return) { return "MIG-" + string(rune('0'+i)) + "1234567", nvml.SUCCESS },
			GetMemoryInfoFunc: func() (nvml.Memory, nvml.Return) { return nvml.Memory{Total: 10 << 30}, nvml.SUCCESS },
		}, nvml.SUCCESS
	}
	write(t, filepath.Join(sys, "devices/system/node/node1/cpulist"), "4-6,12\n")
	return s, sysfs(sys)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestGPUs(t *testing.T) {
	lib, sys := fake(t)
	d, err := open(lib, sys)
	if err != nil {
		t.Fatal(err)
	}
	gpus, err := d.GPUs()
	if err != nil {
		t.Fatal(err)
	}
	var links, nodes []int
	for _, g := range gpus {
		links, nodes = append(links, g.NVLink), append(nodes, g.NUMANode)
	}
	if !slices.Equal(links, []int{0, 0, 0, 0, 4, 4, 4, -1}) || !slices.Equal(nodes, []int{0, 0, 0, 0, 1, 1, 1, 1}) {
		t.Errorf("NVLink groups %v, NUMA nodes %v", links, nodes)
	}
	g := gpus[2]
	if g.Index != 2 || g.UUID != "GPU-cccccccc" || g.PCI != "0000:12:00.0" || !strings.Contains(g.Name, "H200") || g.Memory < 100<<30 {
		t.Errorf("GPU 2 is %+v", g)
	}
	if h := g.Health; h.ECCErrors != 3 || !strings.Contains(h.BadMemory, "wait to be remapped") || h.ClockMHz != 1500 || h.MaxClockMHz != 1980 || len(h.Slowed) != 0 {
		t.Errorf("GPU 2's health is %+v", h)
	}
	if slowed := gpus[1].Health.Slowed; len(slowed) != 1 || slowed[0] != "heat, by the hardware" {
		t.Errorf("GPU 1 is slowed by %q", slowed)
	}
	if s := gpus[7].Slices; len(s) != 2 || s[1].UUID != "MIG-11234567" || s[1].Memory != 10<<30 || s[1].Index != 7 {
		t.Errorf("GPU 7 is cut into %+v", s)
	}
	if cpus, err := d.CPUs(1); err != nil || !slices.Equal(cpus, []int{4, 5, 6, 12}) {
		t.Errorf("NUMA node 1 has CPUs %v, %v", cpus, err)
	}
	if _, err := d.CPUs(5); err == nil {
		t.Error("CPUs of a NUMA node that is not there")
	}
	if cpus, err := d.CPUs(-1); err != nil || cpus != nil {
		t.Errorf("without a NUMA node: CPUs %v, %v", cpus, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenFails(t *testing.T) {
	for ret, want := range map[nvml.Return]string{
		nvml.ERROR_LIBRARY_NOT_FOUND: "libnvidia-ml.so.1", nvml.ERROR_DRIVER_NOT_LOADED: "kernel module",
		nvml.ERROR_LIB_RM_VERSION_MISMATCH: "reboot", nvml.ERROR_UNKNOWN: "nvml",
	} {
		_, err := open(&mock.Interface{InitFunc: func() nvml.Return { return ret }}, "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", ret, err)
		}
		absent := ret == nvml.ERROR_LIBRARY_NOT_FOUND || ret == nvml.ERROR_DRIVER_NOT_LOADED
		if errors.Is(err, ErrNoDriver) != absent {
			t.Errorf("%v: no driver is %t", err, !absent)
		}
	}
}

// TestVisible: CUDA_VISIBLE_DEVICES, with errors where CUDA would quietly take less.
func TestVisible(t *testing.T) {
	lib, sys := fake(t)
	d, err := open(lib, sys)
	if err != nil {
		t.Fatal(err)
	}
	gpus, err := d.GPUs()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ list, want string }{
		{"", ""},
		{"-1", ""},
		{"0", "GPU-aaaaaaaa"},
		{"3,1", "GPU-dddddddd GPU-bbbbbbbb"},
		{"2, GPU-a,-1,99", "GPU-cccccccc GPU-aaaaaaaa"},
		{"MIG-1,MIG-0", "MIG-11234567 MIG-01234567"},
		{"8", "error: there is no GPU 8"},
		{"-2", "error: there is no GPU -2"},
		{"1,", "error: there is no GPU"},
		{"GPU-", "error: there is no GPU"},
		{"GPU-x", "error: there is no GPU"},
		{"1,GPU-bbbb", "error: twice"},
		{"MIG-", "error: there is no GPU"},
		{"7", "error: cut into 2 slices"},
		{"GPU-hhhh", "error: cut into 2 slices"},
	} {
		got, err := Visible(gpus, tt.list, true)
		if want, bad := strings.CutPrefix(tt.want, "error: "); bad {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", tt.list, err, want)
			}
			continue
		}
		var uuids []string
		for _, g := range got {
			uuids = append(uuids, g.UUID)
		}
		if err != nil || strings.Join(uuids, " ") != tt.want {
			t.Errorf("%q leaves %q, %v, want %q", tt.list, uuids, err, tt.want)
		}
	}
	if _, err := Visible(gpus, "", false); err == nil || !strings.Contains(err.Error(), "MIG") {
		t.Errorf("not set, with a GPU that is cut: %v", err)
	}
	if got, err := Visible(gpus[:7], "", false); err != nil || len(got) != 7 {
		t.Errorf("not set: %d GPUs, %v", len(got), err)
	}
}

func FuzzParseCPUs(f *testing.F) {
	for _, seed := range []string{"0-3,8", "", "0-8191", "3-1", "0-99999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		cpus, err := parseCPUs(list)
		if err == nil && len(cpus) > maxCPU+maxCPU {
			t.Errorf("%d CPUs", len(cpus))
		}
		for _, cpu := range cpus {
			if cpu < 0 || cpu >= maxCPU {
				t.Errorf("CPU %d", cpu)
			}
		}
	})
}
