package inventory

import "github.com/NVIDIA/go-nvml/pkg/nvml"

// Health is how a GPU is doing. What it can't tell is zero.
type Health struct {
	ClockMHz    uint32   `json:"clock_mhz"` // of its multiprocessors, now and at most
	MaxClockMHz uint32   `json:"max_clock_mhz"`
	Slowed      []string `json:"slowed,omitempty"`     // why it runs slower than it could, but for idleness and power
	ECCErrors   uint64   `json:"ecc_errors,omitempty"` // uncorrected, since the driver was loaded
	BadMemory   string   `json:"bad_memory,omitempty"` // why its memory can't be trusted
}

// slowing are the reasons of a lower clock that somebody should look into. Slowing down for its power limit is what a
// busy GPU does.
var slowing = []struct {
	bit  uint64
	what string
}{
	{nvml.ClocksEventReasonApplicationsClocksSetting, "a clock that somebody has set (nvidia-smi --reset-gpu-clocks)"},
	{nvml.ClocksThrottleReasonHwSlowdown, "its hardware (heat, or too little power)"},
	{nvml.ClocksEventReasonSwThermalSlowdown, "heat, by the driver"},
	{nvml.ClocksThrottleReasonHwThermalSlowdown, "heat, by the hardware"},
	{nvml.ClocksThrottleReasonHwPowerBrakeSlowdown, "the power supply's brake"},
}

// health asks a GPU; older ones and slices can't tell everything.
func health(device nvml.Device) Health {
	var h Health
	if clock, ret := device.GetClockInfo(nvml.CLOCK_SM); ret == nvml.SUCCESS {
		h.ClockMHz = clock
	}
	if clock, ret := device.GetMaxClockInfo(nvml.CLOCK_SM); ret == nvml.SUCCESS {
		h.MaxClockMHz = clock
	}
	if reasons, ret := device.GetCurrentClocksThrottleReasons(); ret == nvml.SUCCESS { // older drivers have it too
		for _, s := range slowing {
			if reasons&s.bit != 0 {
				h.Slowed = append(h.Slowed, s.what)
			}
		}
	}
	if n, ret := device.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC); ret == nvml.SUCCESS {
		h.ECCErrors = n
	}
	if _, _, pending, failed, ret := device.GetRemappedRows(); ret == nvml.SUCCESS {
		switch {
		case failed:
			h.BadMemory = "rows of its memory could not be remapped"
		case pending:
			h.BadMemory = "rows of its memory wait to be remapped"
		}
	}
	return h
}
