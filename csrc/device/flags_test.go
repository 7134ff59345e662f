package device_test

import (
	"strings"
	"testing"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

// TestFlags compiles with flags of a program's own: XLA takes what it knows and refuses the rest, so a flag is never lost.
func TestFlags(t *testing.T) {
	c := devicetest.Open(t)
	src := device.Source{Name: "same", Inputs: []device.Shape{f32()}, Outputs: []device.Shape{f32()},
		Code: []byte("module @same { func.func public @main(%x: tensor<f32>) -> tensor<f32> { return %x : tensor<f32> } }")}
	for flag, accepted := range map[string]bool{"xla_gpu_enable_triton_gemm=False": true, "xla_gpu_enable_triton_gemm=True": true, "xla_gpu_enable_triton_gemm=false": false, "xla_no_such_flag=True": false} {
		name, value, _ := strings.Cut(flag, "=")
		src.Flags = map[string]string{name: value}
		p, err := c.Compile(src)
		if (err == nil) != accepted {
			t.Errorf("%s: %v", flag, err)
		}
		if err == nil {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
