package hlo_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model/hlo"
)

// onParts runs a program on every part at once, each on a client of its own, and returns what each got, or its error.
func onParts(t *testing.T, table *devicetest.Table, devs []*device.Client, input func(part int) []float32, write func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value) ([][]float32, []error) {
	t.Helper()
	out, errs := make([][]float32, len(devs)), make([]error, len(devs))
	var all sync.WaitGroup
	for i, dev := range devs {
		number, release, err := dev.Communicate(table.Seat(i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
		all.Go(func() {
			out[i], errs[i] = onPart(dev, input(i), hlo.Communicator{Parts: len(devs), Number: number}, write)
		})
	}
	all.Wait()
	return out, errs
}

func onPart(dev *device.Client, in []float32, c hlo.Communicator, write func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value) ([]float32, error) {
	src, err := hlo.Build("part", func(g *hlo.Graph) []hlo.Value {
		return []hlo.Value{g.F32(write(g, c, g.Input(device.MakeShape(dtypes.Float32, len(in)))))}
	})
	if err != nil {
		return nil, err
	}
	p, err := dev.Compile(src)
	if err != nil {
		return nil, err
	}
	defer p.Close() //nolint:errcheck // the client's end says what is left
	x, err := device.FromSlice(dev, dtypes.Float32, in, len(in))
	if err != nil {
		return nil, err
	}
	defer x.Free()
	res, err := p.Execute(x)
	if err != nil {
		return nil, err
	}
	defer device.FreeAll(res)
	return device.ToSlice[float32](res[0])
}

// TestCollectives runs every collective among eight clients of one process, in three types, alone and in a loop.
func TestCollectives(t *testing.T) {
	const n = 8
	devs := devicetest.Parts(t, n)
	input := func(part int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(i * part)
		}
		return v
	}
	const parts = n * (n - 1) / 2 // sum of the parts' numbers
	for name, c := range map[string]struct {
		write func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value
		want  func(part int) []float32
	}{
		"all-reduce": {
			func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value { return g.AllReduce(c, "x", x) },
			func(int) []float32 {
				return []float32{0, parts, 2 * parts, 3 * parts, 4 * parts, 5 * parts, 6 * parts, 7 * parts}
			},
		},
		"all-gather": {
			func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value {
				return g.AllGather(c, "x", g.Slice(x, 0, 1, 3))
			},
			func(int) []float32 { return []float32{0, 0, 1, 2, 2, 4, 3, 6, 4, 8, 5, 10, 6, 12, 7, 14} },
		},
		"reduce-scatter": {
			func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value { return g.ReduceScatter(c, "x", x) },
			func(part int) []float32 { return []float32{float32(part) * parts} },
		},
		"loop": { // 3 rounds of x = sum over parts of x
			func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value {
				g.Order()
				return g.Loop(3, []hlo.Value{x}, func(g *hlo.Graph, _ hlo.Value, st []hlo.Value) []hlo.Value {
					return []hlo.Value{g.AllReduce(c, "x", st[0])}
				})[0]
			},
			func(int) []float32 {
				v := make([]float32, n)
				for i := range v {
					v[i] = float32(i * parts * n * n)
				}
				return v
			},
		},
	} {
		for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.BFloat16} {
			t.Run(fmt.Sprint(name, " ", dtype), func(t *testing.T) {
				got, errs := onParts(t, devicetest.NewTable(n), devs, input, func(g *hlo.Graph, comm hlo.Communicator, x hlo.Value) hlo.Value {
					return c.write(g, comm, g.To(x, dtype))
				})
				for i := range got {
					if errs[i] != nil || !slices.Equal(got[i], c.want(i)) {
						t.Errorf("part %d: got %v, %v; want %v", i, got[i], errs[i], c.want(i))
					}
				}
			})
		}
	}
}

// TestCollectiveFails: a collective that cannot be is an error of the program on every part, and nobody hangs.
func TestCollectiveFails(t *testing.T) {
	devs := devicetest.Parts(t, 2)
	ones := func(int) []float32 { return []float32{1, 1} }
	sum := func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value { return g.AllReduce(c, "of x", x) }
	for name, c := range map[string]struct {
		table func() *devicetest.Table
		write func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value
		want  string
	}{
		"cancelled": {
			func() *devicetest.Table {
				table := devicetest.NewTable(3) // one more than come
				time.AfterFunc(50*time.Millisecond, func() { table.Cancel(errors.New("the run was cancelled")) })
				return table
			}, sum, "all-reduce of x: the run was cancelled",
		},
		"no such number": {
			func() *devicetest.Table { return devicetest.NewTable(2) },
			func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value { c.Number = 99; return sum(g, c, x) },
			"communicator 99, which this process does not have",
		},
		"unknown type": {
			func() *devicetest.Table { return devicetest.NewTable(2) },
			func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value {
				return sum(g, c, g.To(x, dtypes.Uint32))
			}, "not XLA's element type 8",
		},
		"uneven": {
			func() *devicetest.Table { return devicetest.NewTable(2) },
			func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value {
				c.Parts = 3
				return g.ReduceScatter(c, "x", x)
			}, "2 rows do not divide into 3 parts",
		},
		"loop out of order": {
			func() *devicetest.Table { return devicetest.NewTable(2) },
			func(g *hlo.Graph, c hlo.Communicator, x hlo.Value) hlo.Value {
				return g.Loop(3, []hlo.Value{x}, func(g *hlo.Graph, _ hlo.Value, st []hlo.Value) []hlo.Value {
					return []hlo.Value{sum(g, c, st[0])}
				})[0]
			}, "needs Order",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := onParts(t, c.table(), devs, ones, c.write)
			for i, err := range errs {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("part %d: %v, want %q", i, err, c.want)
				}
			}
		})
	}
}
