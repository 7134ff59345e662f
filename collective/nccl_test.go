package collective

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/tools/skip"
)

// fakeLibrary builds testdata/fakenccl.c, whose ranks are this process's, and loads it.
var fakeLibrary = sync.OnceValues(func() (*csrc.NCCL, error) {
	lib := filepath.Join(fakeDir, "libnccl.so")
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-pthread", "-o", lib, "testdata/fakenccl.c").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return csrc.LoadNCCL(lib)
})

// idle is a queue of a device that has always done everything.
type idle struct{ dev *device.Client }

func (i idle) Room(shapes []device.Shape) (room []*device.Buffer, err error) {
	for _, s := range shapes {
		b, err := i.dev.Uninitialized(s)
		if err != nil {
			return nil, err
		}
		room = append(room, b)
	}
	return room, nil
}
func (i idle) Borrow(shapes []device.Shape) ([]*device.Buffer, mark, error) {
	room, err := i.Room(shapes)
	return room, i, err
}
func (idle) Behind(mark) error   { return nil }
func (idle) Join(mark) error     { return nil }
func (idle) Handle() csrc.Stream { return 0 }
func (idle) Close() error        { return nil }
func (idle) Passed() (bool, error) {
	return true, nil
}
func (idle) Since(mark) (time.Duration, error)  { return time.Millisecond, nil }
func (idle) Waited() (time.Duration, error)     { return time.Microsecond, nil }
func (idle) Free()                              {}
func (i idle) MarkOn(csrc.Stream) (mark, error) { return i, nil }
func (idle) After(buffers ...*device.Buffer) error {
	for _, b := range buffers {
		if err := b.Await(); err != nil {
			return err
		}
	}
	return nil
}
func (idle) Zero(b *device.Buffer, offset, n int) error {
	m, err := b.HostMemory()
	if err == nil {
		clear(m[offset : offset+n])
	}
	return err
}
func (idle) Publish(_ mark, buffers []*device.Buffer) ([]*device.Buffer, error) { return buffers, nil }

// stuck is a queue whose device never does anything.
type stuck struct{ idle }

func (stuck) Passed() (bool, error)              { return false, nil }
func (s stuck) MarkOn(csrc.Stream) (mark, error) { return s, nil }

// fabrics joins the fake NCCL on all ranks of jobs, with a queue for each communicator.
func fabrics(t *testing.T, jobs []*Job, q queue) []*Fabric {
	t.Helper()
	if _, err := exec.LookPath("cc"); err != nil {
		skip.Because(t, "there is no cc to build the fake NCCL with")
	}
	lib, err := fakeLibrary()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]*Fabric, len(jobs))
	errs := perRank(len(jobs), func(r int) (err error) {
		out[r], err = jobs[r].newFabric(lib, csrc.CUDA{}, nil, func() (queue, error) { return q, nil })
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		errs := perRank(len(out), func(r int) error { return out[r].Close() })
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
	return out
}

// split makes every rank's communicator of an axis; ranksOf tells its members.
func split(t *testing.T, fabrics []*Fabric, name string, ranksOf func(rank int) []int) []Comm {
	t.Helper()
	comms := make([]Comm, len(fabrics))
	errs := perRank(len(fabrics), func(r int) (err error) {
		comms[r], err = fabrics[r].Comm(name, ranksOf(r))
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return comms
}

// everyone is all ranks of n.
func everyone(n int) func(int) []int {
	all := make([]int, n)
	for r := range all {
		all[r] = r
	}
	return func(int) []int { return all }
}

// TestNCCL: all collectives give exactly what they should, among all ranks and within two axes split from them, whose
// ranks are ordered as they were given.
func TestNCCL(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Open(t)
	for _, n := range []int{2, 3, 4} {
		exact(t, dev, split(t, fabrics(t, joinAll(t, n, nil), idle{dev}), "dp", everyone(n)))
	}
	f := fabrics(t, joinAll(t, 4, nil), idle{dev})
	dp := split(t, f, "dp", func(r int) []int { return []int{r % 2, r%2 + 2} })
	tp := split(t, f, "tp", func(r int) []int { return []int{r/2*2 + 1, r / 2 * 2} }) // the odd rank first
	for _, comms := range [][]Comm{{dp[0], dp[2]}, {dp[1], dp[3]}, {tp[1], tp[0]}, {tp[3], tp[2]}} {
		for r, c := range comms {
			if c.Rank() != r || c.Size() != 2 {
				t.Errorf("rank %d of %d, want rank %d of 2", c.Rank(), c.Size(), r)
			}
		}
		exact(t, dev, comms)
	}
	if solo := split(t, f, "cp", func(r int) []int { return []int{r} }); solo[3] != (Solo{}) {
		t.Errorf("one rank alone is %T", solo[3])
	}
}

// TestNCCLInPrograms: the collectives that programs call, on memory by its address.
func TestNCCLInPrograms(t *testing.T) {
	devicetest.CPUOnly(t)
	const n, part = 3, 8
	dev, f32 := devicetest.Open(t), dtypes.Float32
	comms := split(t, fabrics(t, joinAll(t, n, nil), idle{dev}), "tp", everyone(n))
	sum := encode(f32, sumOf(n, 0, n*part))
	errs := each(comms, func(c Comm) error {
		q := c.(csrc.StreamCommunicator)
		src, err := dev.Upload(encode(f32, values(c.Rank(), 0, n*part)), device.MakeShape(f32, n*part))
		if err != nil {
			return err
		}
		defer src.Free()
		from, err := address(src)
		if err != nil {
			return err
		}
		run := func(elements int, want []byte, collect func(to uintptr) error) error {
			dst, err := dev.Uninitialized(device.MakeShape(f32, elements))
			if err != nil {
				return err
			}
			to, err := address(dst)
			if err == nil {
				err = collect(to)
			}
			return errors.Join(err, holds([]*device.Buffer{dst}, func(int) []byte { return want }))
		}
		own := sum[c.Rank()*4*part : (c.Rank()+1)*4*part]
		return errors.Join(
			run(n*part, sum, func(to uintptr) error { return q.QueueAllReduce("x", to, from, n*part, f32, 1) }),
			run(part, own, func(to uintptr) error { return q.QueueReduceScatter("x", to, from, part, f32, 1) }),
			run(n*part, slices.Concat(encode(f32, values(0, 0, part)), encode(f32, values(1, 0, part)), encode(f32, values(2, 0, part))),
				func(to uintptr) error { return q.QueueAllGather("x", to, from, part, f32, 1) }))
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// TestNCCLStarts: a rank starts collectives and goes on before the others have come to them; they keep their order. What
// they take of the device is added up, and only what programs wait for counts as exposed.
func TestNCCLStarts(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Open(t)
	f := fabrics(t, joinAll(t, 2, nil), idle{dev})
	comms := split(t, f, "dp", everyone(2))
	x, err := dev.Scalar(3)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Free()
	var works []Work
	for _, c := range comms {
		for _, what := range []string{"first", "second", "third"} {
			w, err := c.StartAllReduce(what, []*device.Buffer{x})
			if err != nil {
				t.Fatal(err)
			}
			works = append(works, w)
		}
	}
	for _, w := range works {
		sum, err := w.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if v, err := sum[0].ToScalar(); err != nil || v != 6 {
			t.Errorf("the sum is %g (%v), want 6", v, err)
		}
		device.FreeAll(sum)
	}
	if got, err := f[0].Traffic(); err != nil || got.Moving != 3*time.Millisecond || got.Exposed != time.Microsecond {
		t.Errorf("traffic of three collectives of a millisecond, waited for once: %+v, %v", got, err)
	}
}

// address is where a buffer's contents are, once they are there.
func address(b *device.Buffer) (uintptr, error) {
	if err := b.Await(); err != nil {
		return 0, err
	}
	return b.Pointer()
}

// oneTensor all-reduces a tensor on a rank.
func oneTensor(dev *device.Client, c Comm, what string) error {
	x, err := dev.Scalar(1)
	if err != nil {
		return err
	}
	defer x.Free()
	got, err := c.AllReduce(what, []*device.Buffer{x})
	device.FreeAll(got)
	return err
}

// TestNCCLFailures: whatever happens to one rank, all ranks end soon, with the same cause in words.
func TestNCCLFailures(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Open(t)
	reason := errors.New("the disk is full")
	second := func(_ *Job, c Comm) error { return oneTensor(dev, c, "second") }
	wait := func(j *Job, _ Comm) error { <-j.ctx.Done(); return j.Err() }
	for _, c := range []struct {
		name    string
		fail    string        // group of rank 0 that NCCL fails
		timeout time.Duration // if it is not the usual one
		then    time.Duration // the same, from the second all-reduce on
		q       queue
		others  func(j *Job, c Comm) error // what ranks 0 and 1 do after a first all-reduce
		rank2   func(j *Job, c Comm) error
		want    string // in every rank's error
	}{
		{name: "a rank gives up", others: second, rank2: func(j *Job, _ Comm) error { j.Fail(reason); return j.Err() }, want: "rank 2: the disk is full"},
		{name: "a rank does not come", then: soon, others: second, rank2: wait,
			want: "rank 2 has not come beyond all-reduce first, number 1"},
		{name: "NCCL fails", fail: "2", others: second, rank2: second, want: "rank 0: number 2: nccl: remote process exited"},
		{name: "the device is stuck", timeout: 2 * time.Second, q: stuck{idle{dev}}, others: wait, rank2: wait,
			want: "dp: all-reduce number 1 has taken longer than it may: all ranks have arrived"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("FAKE_NCCL_FAIL", c.fail)
			if c.q == nil {
				c.q = idle{dev}
			}
			jobs := joinAll(t, 3, func(j *JobConfig) {
				if c.timeout > 0 {
					j.Timeout = c.timeout
				}
			})
			comms := split(t, fabrics(t, jobs, c.q), "dp", everyone(3))
			begin := time.Now()
			_ = perRank(3, func(r int) error { // the jobs know how it went
				if err := oneTensor(dev, comms[r], "first"); err != nil {
					return err
				}
				if c.then > 0 {
					jobs[r].cfg.Timeout = c.then
				}
				if r == 2 {
					return c.rank2(jobs[2], comms[2])
				}
				return c.others(jobs[r], comms[r])
			})
			for r := range jobs {
				<-jobs[r].ctx.Done() // a rank whose call had succeeded is told as well
				if got := jobs[r].Err(); !strings.Contains(got.Error(), c.want) {
					t.Errorf("rank %d: the job ended by %v, want %q", r, got, c.want)
				}
				if err := oneTensor(dev, comms[r], "third"); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("rank %d: a later call: %v, want %q", r, err, c.want)
				}
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			if record := jobs[0].FlightRecord(); !strings.Contains(record, "all-reduce first, 4 bytes") {
				t.Errorf("flight record: %s", record)
			}
		})
	}
}

// TestNCCLAbsent: a library that is not there, or is something else, is an error that says so.
func TestNCCLAbsent(t *testing.T) {
	if _, err := csrc.LoadNCCL("/nowhere/libnccl.so.2"); err == nil || !strings.Contains(err.Error(), "load NCCL /nowhere/libnccl.so.2") {
		t.Errorf("got %v", err)
	}
	if _, err := csrc.LoadNCCL("libdl.so.2"); err == nil || !strings.Contains(err.Error(), "gorun needs NCCL 2.20") {
		t.Errorf("got %v", err)
	}
}
