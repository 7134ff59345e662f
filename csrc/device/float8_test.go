package device

import (
	"strings"
	"testing"
)

// TestFloat8Refused: GPUs before Ada have no products of 8-bit floats.
func TestFloat8Refused(t *testing.T) {
	if err := float8Refused("NVIDIA A100", 80); err == nil || !strings.Contains(err.Error(), "8.9") || !strings.Contains(err.Error(), "A100 has 8.0") {
		t.Errorf("got %v", err)
	}
	for _, arch := range []int{89, 90, 100} {
		if err := float8Refused("NVIDIA", arch); err != nil {
			t.Errorf("%d: %v", arch, err)
		}
	}
}
