package device_test

import (
	"fmt"
	"strings"
	"testing"

	"gorun/csrc"
	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

// TestCustomCall runs a program with a custom call of ours in its middle.
func TestCustomCall(t *testing.T) {
	devicetest.CPUOnly(t) // the handler copies host memory
	c := devicetest.Open(t)
	if err := c.RegisterCopy(); err != nil {
		t.Fatal(err)
	}
	program := func(dtype string) device.Source {
		code := strings.ReplaceAll(fmt.Sprintf(`module @call { func.func public @main(%%x: tensor<4xf32>) -> tensor<4xf32> {
  %%0 = stablehlo.convert %%x : (tensor<4xf32>) -> tensor<4xDTYPE>
  %%1 = stablehlo.custom_call @%s(%%0) {api_version = 4 : i32} : (tensor<4xDTYPE>) -> tensor<4xDTYPE>
  %%2 = stablehlo.add %%1, %%1 : tensor<4xDTYPE>
  %%3 = stablehlo.convert %%2 : (tensor<4xDTYPE>) -> tensor<4xf32>
  return %%3 : tensor<4xf32> } }`, csrc.CopyTarget), "DTYPE", dtype)
		return device.Source{Name: "call", Code: []byte(code), Inputs: []device.Shape{f32(4)}, Outputs: []device.Shape{f32(4)}}
	}
	p := compile(t, c, program("f32"))
	x := upload(t, c, 1, 2, 3, 4)
	defer x.Free()
	out, err := p.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(out)
	if got, err := device.ToSlice[float32](out[0]); err != nil || fmt.Sprint(got) != "[2 4 6 8]" {
		t.Errorf("got %v, %v", got, err)
	}

	// The handler's error comes out where the result is waited for.
	bad := compile(t, c, program("i32"))
	broken, err := bad.Execute(x)
	if err == nil {
		err = broken[0].Await()
		device.FreeAll(broken)
	}
	if err == nil || !strings.Contains(err.Error(), "gorun_copy takes float32") {
		t.Errorf("got %v", err)
	}
}
