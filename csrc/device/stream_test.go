package device_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/tools/skip"
)

// openStream is a stream on an NVIDIA GPU, which the test closes.
func openStream(t *testing.T) (*device.Client, *device.Stream) {
	t.Helper()
	c := devicetest.Open(t)
	s, err := c.NewStream()
	if c.Platform() != "cuda" {
		if err == nil {
			t.Errorf("%s makes a stream", c.Platform())
		}
		skip.Because(t, "it is about streams of NVIDIA GPUs: GORUN_TEST_DEVICE=cuda")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, s
}

// must ends the test on an error.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// slow multiplies an N x N matrix by itself's scaled identity many times: work that lasts, and gives x back.
func slow(n, times int) device.Source {
	m := fmt.Sprintf("tensor<%dx%dxf32>", n, n)
	var b strings.Builder
	fmt.Fprintf(&b, "module @slow { func.func public @main(%%x: %s, %%one: %s) -> %s {\n  %%v0 = stablehlo.add %%x, %%x : %s\n", m, m, m, m)
	for i := range times {
		fmt.Fprintf(&b, "  %%v%d = stablehlo.dot_general %%v%d, %%one, contracting_dims = [1] x [0] : (%s, %s) -> %s\n", i+1, i, m, m, m)
	}
	fmt.Fprintf(&b, "  %%last = stablehlo.subtract %%v%d, %%x : %s\n  return %%last : %s } }", times, m, m)
	s := device.MakeShape(dtypes.Float32, n, n)
	return device.Source{Name: "slow", Code: []byte(b.String()), Inputs: []device.Shape{s, s}, Outputs: []device.Shape{s}}
}

// TestStream: programs see what a stream wrote, and a stream that takes memory which a program still uses comes after it.
func TestStream(t *testing.T) {
	const n, times = 4096, 40
	c, s := openStream(t)
	p := must(c.Compile(slow(n, times)))(t)
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	identity, data := make([]float32, n*n), make([]float32, n*n)
	for i := range n {
		identity[i*n+i] = 1
	}
	for i := range data {
		data[i] = float32(i % 251)
	}
	one := must(device.FromSlice(c, dtypes.Float32, identity, n, n))(t)
	defer one.Free()
	reused := false
	for range 4 {
		x := must(device.FromSlice(c, dtypes.Float32, data, n, n))(t)
		if err := x.Await(); err != nil {
			t.Fatal(err)
		}
		was := must(x.Pointer())(t)
		out := must(p.Execute(x, one))(t) // reads x at its end, long from now
		x.Free()
		y := must(c.Uninitialized(device.MakeShape(dtypes.Float32, n, n)))(t)
		reused = reused || must(y.Pointer())(t) == was
		if err := errors.Join(s.After(y), s.Zero(y, 0, y.Shape().Bytes())); err != nil {
			t.Fatal(err)
		}
		m := must(s.Mark())(t)
		if passed, err := m.Passed(); err != nil {
			t.Fatal(err)
		} else if passed {
			t.Error("the stream did not wait for the program that uses the memory")
		}
		zero := must(s.Publish(m, []*device.Buffer{y}))(t)
		m.Free()
		next := must(p.Execute(zero[0], one))(t)
		check(t, "before", out[0], func(i int) float32 { return data[i] })
		check(t, "after", next[0], func(int) float32 { return 0 })
		device.FreeAll(out, zero, next)
	}
	if !reused {
		t.Error("no buffer took the memory of the freed one: the test shows nothing")
	}
}

// check downloads a buffer and compares it.
func check(t *testing.T, what string, b *device.Buffer, want func(i int) float32) {
	t.Helper()
	got := must(device.ToSlice[float32](b))(t)
	for i, v := range got {
		if v != want(i) {
			t.Fatalf("%s: element %d is %g, want %g", what, i, v, want(i))
		}
	}
}
