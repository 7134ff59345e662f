package device_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
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

// operands are what tests give slow: the identity, which leaves the other as it is [n,n].
func operands(n int) (identity, data []float32) {
	identity, data = make([]float32, n*n), make([]float32, n*n)
	for i := range n {
		identity[i*n+i] = 1
	}
	for i := range data {
		data[i] = float32(i % 251)
	}
	return identity, data
}

// TestStreamPrograms: the programs by which a stream takes room and publishes do what they say, on a CPU too: room has the
// shapes that are asked for, and what is published is the very memory, once the joiner has been called, or not at all if it
// fails.
func TestStreamPrograms(t *testing.T) {
	devicetest.CPUOnly(t) // TestStream has them on a GPU
	c := devicetest.Open(t)
	if err := c.RegisterStreams(); err != nil {
		t.Fatal(err)
	}
	joins, refuse := 0, error(nil)
	number := csrc.RegisterJoiner(func(csrc.Stream) error {
		joins++
		return refuse
	})
	defer csrc.UnregisterJoiner(number)
	for _, shapes := range [][]device.Shape{{f32(3)}, {f32(4, 2), device.MakeShape(dtypes.BFloat16, 5), f32(1)}} {
		room := run(t, c, device.RoomSource(shapes))
		var want []uintptr
		for i, b := range room {
			if !b.Shape().Equal(shapes[i]) {
				t.Errorf("room for %s is %s", shapes[i], b.Shape())
			}
			want = append(want, must(b.Pointer())(t))
		}
		for i, b := range run(t, c, device.PublishSource(number, shapes), room...) {
			if at := must(b.Pointer())(t); at != want[i] {
				t.Errorf("%s was at %x, is published at %x", shapes[i], want[i], at)
			}
			b.Free()
		}
	}
	if joins != 2 {
		t.Errorf("%d joins, want 2", joins)
	}
	refuse = errors.New("the stream is gone")
	p := must(c.Compile(device.PublishSource(number, []device.Shape{f32(3)})))(t)
	room := run(t, c, device.RoomSource([]device.Shape{f32(3)}))
	out, err := p.Execute(room...)
	if err == nil { // it may fail later too
		err = out[0].Await()
	}
	if err == nil || !strings.Contains(err.Error(), refuse.Error()) {
		t.Errorf("a join that fails: %v", err)
	}
	device.FreeAll(room, out)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// run compiles and executes a program.
func run(t *testing.T, c *device.Client, src device.Source, args ...*device.Buffer) []*device.Buffer {
	t.Helper()
	p := must(c.Compile(src))(t)
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	return must(p.Execute(args...))(t)
}

// TestStream: programs see what a stream wrote, and a stream that takes memory which a program still uses comes after it.
func TestStream(t *testing.T) {
	const n, times = 4096, 40
	c, s := openStream(t)
	p := compile(t, c, slow(n, times))
	identity, data := operands(n)
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
		y := must(s.Room([]device.Shape{x.Shape()}))(t)[0]
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

// TestStreamRunsAhead: while the device computes, the host queues as many rooms and publications as eight blocks of a
// sharded model need, of as many tensors, without waiting.
func TestStreamRunsAhead(t *testing.T) {
	const n, tensors, blocks = 4096, 24, 8
	c, s := openStream(t)
	p := compile(t, c, slow(n, 100))
	x := must(device.FromSlice(c, dtypes.Float32, make([]float32, n*n), n, n))(t)
	defer x.Free()
	shapes := slices.Repeat([]device.Shape{f32(1024)}, tensors)
	block := func() device.Mark {
		room := must(s.Room(shapes))(t)
		if err := errors.Join(s.After(room[tensors-1]), s.Zero(room[0], 0, 4096)); err != nil {
			t.Fatal(err)
		}
		m := must(s.Mark())(t)
		device.FreeAll(must(s.Publish(m, room))(t))
		return m
	}
	block().Free() // compiles
	device.FreeAll(must(p.Execute(x, x))(t))
	out := must(p.Execute(x, x))(t)
	defer device.FreeAll(out)
	first := block()
	for range blocks - 1 {
		block().Free()
	}
	if passed, err := first.Passed(); err != nil || passed {
		t.Errorf("the device has come to the first block (%t, %v): the host waited for it", passed, err)
	}
	first.Free()
	if err := out[0].Await(); err != nil {
		t.Fatal(err)
	}
	if waited, err := s.Waited(); err != nil || waited > 50*time.Millisecond {
		t.Errorf("XLA waited for the stream for %s (%v), which does nothing that lasts", waited, err)
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

// TestBorrow: as TestStream, with memory that comes back to the stream and that programs only join.
func TestBorrow(t *testing.T) {
	const n, times = 4096, 40
	c, s := openStream(t)
	p := compile(t, c, slow(n, times))
	identity, data := operands(n)
	one, x := must(device.FromSlice(c, dtypes.Float32, identity, n, n))(t), must(device.FromSlice(c, dtypes.Float32, data, n, n))(t)
	defer device.FreeAll([]*device.Buffer{one, x})
	// written gives borrowed memory that the stream writes, and a mark behind that.
	written := func(write func(b *device.Buffer) error) (*device.Buffer, device.Mark) {
		b, after, err := s.Borrow([]device.Shape{x.Shape()})
		if err != nil {
			t.Fatal(err)
		}
		defer after.Free()
		if err := errors.Join(s.Behind(after), s.After(x), write(b[0])); err != nil {
			t.Fatal(err)
		}
		m := must(s.Mark())(t)
		if err := s.Join(m); err != nil {
			t.Fatal(err)
		}
		return b[0], m
	}
	var was uintptr
	for i := range 4 {
		full, m := written(func(b *device.Buffer) error {
			return s.CUDA().Copy([]csrc.Move{{Dst: must(b.Pointer())(t), Src: must(x.Pointer())(t), N: b.Shape().Bytes()}}, s.Handle())
		})
		m.Free()
		if at := must(full.Pointer())(t); i > 0 && at != was {
			t.Errorf("memory that came back at %x is lent again at %x", was, at)
		} else {
			was = at
		}
		if err := full.Download(make([]byte, full.Shape().Bytes())); err == nil || !strings.Contains(err.Error(), "borrowed, for programs alone") {
			t.Errorf("download: %v", err)
		}
		out := must(p.Execute(full, one))(t) // reads full at its end, long from now
		full.Free()
		empty, m := written(func(b *device.Buffer) error { return s.Zero(b, 0, b.Shape().Bytes()) })
		if passed, err := m.Passed(); err != nil {
			t.Fatal(err)
		} else if passed {
			t.Error("the stream did not wait for the program that uses the memory")
		}
		m.Free()
		if at := must(empty.Pointer())(t); at != was {
			t.Errorf("memory that came back at %x is lent again at %x", was, at)
		}
		next := must(p.Execute(empty, one))(t)
		empty.Free()
		check(t, "before", out[0], func(i int) float32 { return data[i] })
		check(t, "after", next[0], func(int) float32 { return 0 })
		device.FreeAll(out, next)
	}
}
