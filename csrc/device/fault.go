package device

import (
	"errors"
	"fmt"
	"strings"

	"gorun/csrc"
)

// Fault is a failure of the device or of what it stands on, not of what was asked of it: what has happened, and what to
// do about it.
type Fault struct {
	What, Fix string
	Err       error // in the library's words
}

// Error is one line, whatever the library says.
func (f *Fault) Error() string {
	said, _, _ := strings.Cut(strings.TrimSpace(f.Err.Error()), "\n")
	return fmt.Sprintf("%s: %s (%s)", f.What, f.Fix, said)
}

// Unwrap returns the library's error.
func (f *Fault) Unwrap() error { return f.Err }

// faults are told apart by what XLA, CUDA and the dynamic linker say: none of them gives all a code of its own. The first
// that fits is taken; words are in lower case.
var faults = []struct {
	what, fix string
	words     []string
}{
	{
		"NVIDIA's driver is too old for this XLA plugin", "CUDA 13 needs driver R580 or later ('gorun doctor' shows this machine's): update it, or use --device cpu",
		[]string{"the nvidia driver is too old", "driver version is insufficient", "cuda_error_system_driver_mismatch", "driver/library version mismatch"},
	},
	{
		"there is no NVIDIA GPU that this process can use", "look at 'gorun doctor', nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu",
		[]string{"libcuda.so", "cuda_error_no_device", "no cuda-capable device", "no visible gpu", "no supported devices found for platform cuda"},
	},
	{
		"a library of the XLA plugin cannot be loaded", "install the plugin with its libraries: gorun setup, for NVIDIA GPUs gorun setup --cuda",
		[]string{"cannot open shared object file", "undefined symbol", "dso not found"},
	},
	{
		"the GPU has failed, and with it this process", "'gorun doctor' and the kernel's log (Xid) say more; run again, from the last checkpoint by itself, and if it fails again without this GPU",
		[]string{
			"cuda_error_illegal_address", "illegal memory access", "cuda_error_launch_failed", "unspecified launch failure", "cuda_error_ecc_uncorrectable",
			"uncorrectable ecc", "cuda_error_device_unavailable", "cuda_error_hardware_stack_error", "gpu is lost", "cuda_error_launch_timeout",
		},
	},
}

// explained is err, as a Fault if it is one. client may be nil, where there is none yet.
func explained(err error, client *Client) error {
	var native *csrc.Error
	if !errors.As(err, &native) {
		return err
	}
	if native.Code == csrc.ResourceExhausted && client != nil {
		return &Fault{"out of device memory" + client.fullness(), `lower dataloader.batch_size or dataset.seq_length, or set distributed.activation_checkpointing = "selective" or "full"; 'gorun plan' says what memory goes into`, err}
	}
	said := strings.ToLower(native.Msg)
	for _, f := range faults {
		for _, w := range f.words {
			if strings.Contains(said, w) {
				return &Fault{f.what, f.fix, err}
			}
		}
	}
	return err
}

// fullness is how much of the device's memory buffers take, in words, where that is known.
func (c *Client) fullness() string {
	m := c.Memory()
	if m.Limit == 0 {
		return ""
	}
	const gib = 1 << 30
	return fmt.Sprintf(", of which buffers have %.1f GiB of %.1f", float64(m.InUse)/gib, float64(m.Limit)/gib)
}
