package device

import (
	"fmt"

	"gorun/csrc"
)

// Float8Refused says why the device cannot multiply 8-bit floats; nil if it can. A CPU does so in wider ones.
func (c *Client) Float8Refused() error {
	if c.platform != "cuda" {
		return nil
	}
	arch, err := csrc.CUDAArch(c.ordinal)
	if err != nil {
		return err
	}
	return float8Refused(c.kind, arch)
}

// float8Refused is Float8Refused for a GPU of a compute capability.
func float8Refused(kind string, arch int) error {
	if arch < 89 {
		return fmt.Errorf("products of 8-bit floats are for GPUs of compute capability 8.9 (Ada) and later, and this %s has %.1f", kind, float64(arch)/10)
	}
	return nil
}
