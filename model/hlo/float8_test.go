package hlo_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model/hlo"
)

// float8 is the nearest number of an 8-bit format with that many bits of mantissa and that least exponent, ties to even.
func float8(x float64, mantissa, least int) float64 {
	if x == 0 {
		return 0
	}
	_, exponent := math.Frexp(x) // |x| in [2^(exponent-1), 2^exponent)
	step := math.Ldexp(1, max(exponent-1, least)-mantissa)
	return math.RoundToEven(x/step) * step
}

// TestFloat8 holds what Narrow and Widen make of numbers to the formats' definitions, with one unit for all and with one
// for each row.
func TestFloat8(t *testing.T) {
	dev := devicetest.Open(t)
	const rows, cols = 4, 64
	x := make([]float32, rows*cols)
	for i := range x { // rows of very different sizes, with zeros and ties
		x[i] = float32(math.Ldexp(1+float64(i%cols*5%64)/64, i%23-12-9*(i/cols)))
		if i%2 == 1 {
			x[i] = -x[i]
		}
		if i%cols == 7 || i/cols == 3 {
			x[i] = 0
		}
	}
	for _, c := range []struct {
		dtype           dtypes.DType
		mantissa, least int
		beyond          float64 // in units, a power of two that the format has, but the array does not reach
	}{{hlo.E4M3, 3, -6, 256}, {hlo.E5M2, 2, -14, 32768}} {
		for _, byRow := range []bool{false, true} {
			src, err := hlo.Build("float8", func(g *hlo.Graph) []hlo.Value {
				x, axes := g.Input(device.MakeShape(dtypes.Float32, rows, cols)), []int{0, 1}
				if byRow {
					axes = axes[1:]
				}
				f := g.Narrow(x, c.dtype, g.Unit(g.MaxOver(g.Abs(x), axes...), c.dtype))
				units := f.Unit
				if !byRow {
					units = g.Broadcast(units, []int{rows})
				}
				return []hlo.Value{g.Widen(f, dtypes.Float32), units}
			})
			if err != nil {
				t.Fatal(err)
			}
			out := floats(t, dev, src, x)
			for i, v := range x {
				unit := float64(out[1][i/cols])
				want := float8(float64(v)/unit, c.mantissa, c.least)
				if !byRow {
					want *= unit
				}
				if float64(out[0][i]) != want {
					t.Errorf("%s, by row %t: %g in units of %g is %g, want %g", c.dtype, byRow, v, unit, out[0][i], want)
				}
				if math.Abs(float64(v)) >= c.beyond*unit {
					t.Errorf("%s, by row %t: %g is beyond units of %g", c.dtype, byRow, v, unit)
				}
			}
		}
	}
}

// floats runs a program of one float32 argument.
func floats(t *testing.T, dev *device.Client, src device.Source, x []float32) [][]float32 {
	t.Helper()
	p, err := dev.Compile(src)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // frees it
	in, err := device.FromSlice(dev, dtypes.Float32, x, src.Inputs[0].Dims...)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Free()
	out, err := p.Execute(in)
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(out)
	values := make([][]float32, len(out))
	for i, b := range out {
		if values[i], err = device.ToSlice[float32](b); err != nil {
			t.Fatal(err)
		}
	}
	return values
}
