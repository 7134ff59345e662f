package device_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

// f32 makes a shape.
func f32(dims ...int) device.Shape { return device.MakeShape(dtypes.Float32, dims...) }

// addOne returns x+y; with donate, x's memory becomes the result.
func addOne(donate bool) device.Source {
	attr, donated := "", []int(nil)
	if donate {
		attr, donated = " {tf.aliasing_output = 0 : i32}", []int{0}
	}
	code := fmt.Sprintf(`module @add { func.func public @main(%%x: tensor<4xf32>%s, %%y: tensor<4xf32>) -> tensor<4xf32> {
  %%0 = stablehlo.add %%x, %%y : tensor<4xf32>
  return %%0 : tensor<4xf32> } }`, attr)
	return device.Source{Name: "add", Code: []byte(code), Inputs: []device.Shape{f32(4), f32(4)}, Outputs: []device.Shape{f32(4)}, Donated: donated}
}

func upload(t *testing.T, c *device.Client, v ...float32) *device.Buffer {
	t.Helper()
	b, err := device.FromSlice(c, dtypes.Float32, v, len(v))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compile(t *testing.T, c *device.Client, src device.Source) *device.Program {
	t.Helper()
	p, err := c.Compile(src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestExecute(t *testing.T) {
	c := devicetest.Open(t)
	p := compile(t, c, addOne(false))
	x, y := upload(t, c, 1, 2, 3, 4), upload(t, c, 10, 20, 30, 40)
	defer device.FreeAll([]*device.Buffer{x, y})
	out, err := p.Execute(x, y)
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(out)
	got, err := device.ToSlice[float32](out[0])
	if err != nil || fmt.Sprint(got) != "[11 22 33 44]" {
		t.Fatalf("got %v, %v", got, err)
	}
	// Freed while an execution that needs it is queued: the execution still sees it.
	again, err := p.Execute(out[0], y)
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(again)
	out[0].Free()
	if got, err := device.ToSlice[float32](again[0]); err != nil || fmt.Sprint(got) != "[21 42 63 84]" {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := out[0].Await(); err == nil {
		t.Error("a freed buffer can be awaited")
	}
	if _, err := out[0].Pointer(); err == nil {
		t.Error("a freed buffer has an address")
	}
}

func TestDonation(t *testing.T) {
	c := devicetest.Open(t)
	p := compile(t, c, addOne(true))
	x, y := upload(t, c, 1, 2, 3, 4), upload(t, c, 1, 1, 1, 1)
	defer y.Free()
	if err := x.Await(); err != nil {
		t.Fatal(err)
	}
	before, err := x.Pointer()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Execute(x, y)
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(out)
	if err := out[0].Await(); err != nil {
		t.Fatal(err)
	}
	if after, err := out[0].Pointer(); err != nil || after != before {
		t.Errorf("donated memory at %x, result at %x, %v", before, after, err)
	}
	if _, err := p.Execute(x, y); err == nil || !strings.Contains(err.Error(), "argument 0 (4xf32) has been freed") {
		t.Errorf("a donated buffer was accepted again: %v", err)
	}
}

func TestMisuse(t *testing.T) {
	c := devicetest.Open(t)
	p := compile(t, c, addOne(false))
	x := upload(t, c, 1, 2, 3)
	defer x.Free()
	for want, err := range map[string]error{
		"1 arguments, needs 2":             second(p.Execute(x)),
		"argument 0 is 3xf32, needs 4xf32": second(p.Execute(x, x)),
		"have 4 bytes, need 12":            second(c.Upload(make([]byte, 4), f32(3))),
		"compile":                          second(c.Compile(device.Source{Name: "bad", Code: []byte("module {")})),
		"has 1 results, declared 0":        second(c.Compile(device.Source{Name: "add", Code: addOne(false).Code, Inputs: addOne(false).Inputs})),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := device.Open(device.Config{Plugin: "/nowhere/plugin.so"}); err == nil || !strings.Contains(err.Error(), "gorun setup") {
		t.Errorf("missing plugin: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestMemory: a GPU's allocator counts what buffers take; on a CPU nothing does, which the plugin says in so many words.
func TestMemory(t *testing.T) {
	c := devicetest.Open(t)
	before, err := c.AllocatorMemory()
	if c.Platform() == "cpu" {
		var said *csrc.Error
		if !errors.As(err, &said) || said.Code != csrc.Unimplemented {
			t.Errorf("got %+v, %v", before, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	x := upload(t, c, make([]float32, 1<<20)...)
	defer x.Free()
	after, err := c.AllocatorMemory()
	if err != nil || after.InUse < before.InUse+4<<20 || after.Peak < after.InUse || after.Limit < after.Peak {
		t.Errorf("4 MiB more than %+v are %+v, %v", before, after, err)
	}
}

func TestCache(t *testing.T) {
	dir := t.TempDir()
	cfg := devicetest.Config(t)
	cfg.CacheDir = dir
	c, err := device.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	run := func() {
		p := compile(t, c, addOne(false))
		x := upload(t, c, 1, 2, 3, 4)
		defer x.Free()
		out, err := p.Execute(x, x)
		if err != nil {
			t.Fatal(err)
		}
		defer device.FreeAll(out)
		if got, err := device.ToSlice[float32](out[0]); err != nil || got[3] != 8 {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	run()
	files := cached(t, dir)
	if len(files) != 1 {
		t.Fatalf("%d files in the cache, want 1", len(files))
	}
	run()
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"torn": b[:len(b)/2], "flipped": append(append([]byte(nil), b[:len(b)-1]...), b[len(b)-1]^1), "empty": nil} {
		if err := os.WriteFile(files[0], damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(*testing.T) { run() })
		if again, err := os.ReadFile(files[0]); err != nil || len(again) < len(b)-64 {
			t.Errorf("%s: the damaged file was not replaced", name)
		}
	}
}

// TestCacheFlags: what XLA compiled with other flags of the environment is not taken for its own.
func TestCacheFlags(t *testing.T) {
	cfg := devicetest.Config(t)
	cfg.CacheDir = t.TempDir()
	for i, flags := range []string{"", "--xla_backend_optimization_level=1", ""} {
		t.Setenv("XLA_FLAGS", flags) // XLA itself has read them already
		c, err := device.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Compile(addOne(false))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Close(), c.Close()); err != nil {
			t.Fatal(err)
		}
		if n, want := len(cached(t, cfg.CacheDir)), min(i, 1)+1; n != want {
			t.Errorf("with flags %q: %d files in the cache, want %d", flags, n, want)
		}
	}
}

func cached(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	dirs, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		files, err := os.ReadDir(dir + "/" + d.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			out = append(out, dir+"/"+d.Name()+"/"+f.Name())
		}
	}
	return out
}

// TestAsync shows that Execute does not wait: a chain of products is queued in a fraction of the time it takes. A machine
// that lets the host wait now and then does not do so ten times; an Execute that waits would.
func TestAsync(t *testing.T) {
	c := devicetest.Open(t)
	n := 768
	if c.Platform() != "cpu" {
		n = 4096 // so that a product takes longer than its launch
	}
	shape := f32(n, n)
	code := fmt.Sprintf(`module @dot { func.func public @main(%%x: tensor<%[1]s>) -> tensor<%[1]s> {
  %%0 = stablehlo.dot_general %%x, %%x, contracting_dims = [1] x [0] : (tensor<%[1]s>, tensor<%[1]s>) -> tensor<%[1]s>
  return %%0 : tensor<%[1]s> } }`, shape)
	p := compile(t, c, device.Source{Name: "dot", Code: []byte(code), Inputs: []device.Shape{shape}, Outputs: []device.Shape{shape}})
	x, err := device.FromSlice(c, dtypes.Float32, make([]float32, n*n), n, n)
	if err != nil {
		t.Fatal(err)
	}
	warm, err := p.Execute(x) // the first one loads the program
	if err == nil {
		err = warm[0].Await()
	}
	if err != nil {
		t.Fatal(err)
	}
	device.FreeAll(warm)
	defer func() { x.Free() }()
	var queued, total time.Duration
	for range 10 {
		start := time.Now()
		for range 20 {
			out, err := p.Execute(x)
			if err != nil {
				t.Fatal(err)
			}
			x.Free()
			x = out[0]
		}
		queued = time.Since(start)
		if err := x.Await(); err != nil {
			t.Fatal(err)
		}
		if total = time.Since(start); queued < total/2 {
			return
		}
	}
	t.Errorf("queueing took %v of %v: Execute waits", queued, total)
}

// TestHostMemory: what is written to an uninitialized buffer's memory is what programs read, and their results lie in
// memory that the host reads.
func TestHostMemory(t *testing.T) {
	devicetest.CPUOnly(t)
	c := devicetest.Open(t)
	x, err := c.Uninitialized(f32(4))
	if err != nil {
		t.Fatal(err)
	}
	y := upload(t, c, 10, 20, 30, 40)
	defer device.FreeAll([]*device.Buffer{x, y})
	memory, err := x.HostMemory()
	if err != nil {
		t.Fatal(err)
	}
	copy(memory, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40}) // 1 2 3 4
	out, err := compile(t, c, addOne(false)).Execute(x, y)
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(out)
	sum, err := out[0].HostMemory()
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{0, 0, 0x30, 0x41, 0, 0, 0xb0, 0x41, 0, 0, 0x04, 0x42, 0, 0, 0x30, 0x42}; string(sum) != string(want) { // 11 22 33 44
		t.Errorf("memory of the sum is %x, want %x", sum, want)
	}
	x.Free()
	if _, err := x.HostMemory(); err == nil {
		t.Error("a freed buffer shows its memory")
	}
}
