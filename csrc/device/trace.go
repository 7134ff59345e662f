package device

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"gorun/csrc"
)

// Trace records what the device and its driver do, from StartTrace to Stop, by the plugin's profiler (on CUDA NVIDIA's
// CUPTI). It makes launches slower while it records. A process has one at a time.
type Trace struct {
	client   *Client
	profiler csrc.Profiler
}

// StartTrace starts to record. It is an error where the plugin has no profiler, as on the CPU.
func (c *Client) StartTrace() (*Trace, error) {
	p, err := c.plugin.StartProfiler(profileOptions())
	if err != nil {
		return nil, fmt.Errorf("device: trace %s: %w", c.platform, err)
	}
	return &Trace{c, p}, nil
}

// Stop ends the recording and returns it as an XSpace message of XLA's profiler. Only what the device has done by then is
// in it.
func (t *Trace) Stop() ([]byte, error) {
	record, err := t.client.plugin.StopProfiler(t.profiler)
	if err != nil {
		return nil, fmt.Errorf("device: trace %s: %w", t.client.platform, err)
	}
	return record, nil
}

// profileOptions writes a ProfileOptions message (tsl/profiler/protobuf/profiler_options.proto): devices, and of the host what
// PJRT and the driver are asked for.
func profileOptions() []byte {
	var b []byte
	for _, field := range []struct {
		number protowire.Number
		value  uint64
	}{
		{2, 1}, // host_tracer_level
		{3, 1}, // device_tracer_level
		{5, 1}, // version
	} {
		b = protowire.AppendTag(b, field.number, protowire.VarintType)
		b = protowire.AppendVarint(b, field.value)
	}
	return b
}
