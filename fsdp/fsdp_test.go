package fsdp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/collective"
	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

const blocks = 3

// layout is three blocks, of a frozen and two trained parameters whose rows no number of ranks divides, and a root. All that
// is trained is as much as a block, and so kept whole for a pass.
func layout() []Group { return layoutOf(6) }

// layoutOf is layout with frozen parameters of so many columns.
func layoutOf(columns int) (out []Group) {
	f32 := func(dims ...int) device.Shape { return device.MakeShape(dtypes.Float32, dims...) }
	for l := range blocks {
		out = append(out, Group{fmt.Sprint("block ", l), []Param{
			{fmt.Sprint("w", l), f32(7, columns), false, 0, false}, {fmt.Sprint("a", l), f32(2, 3), true, 1, true}, {fmt.Sprint("b", l), f32(7), true, 2, false}}})
	}
	return append(out, Group{"root", []Param{{"embed", f32(11, 3), false, 0, false}}})
}

// recorder writes down the collectives of a communicator as they are given to the device.
type recorder struct {
	collective.Comm
	say func(format string, args ...any)
}

func (r recorder) StartAllGather(what string, shards []*device.Buffer, whole []device.Shape) (collective.Work, error) {
	r.say("all-gather %s", what)
	return r.Comm.StartAllGather(what, shards, whole)
}

func (r recorder) StartReduceScatter(what string, whole []*device.Buffer) (collective.Work, error) {
	r.say("reduce-scatter %s", what)
	return r.Comm.StartReduceScatter(what, whole)
}

func (r recorder) StartAllReduce(what string, tensors []*device.Buffer) (collective.Work, error) {
	r.say("all-reduce %s", what)
	return r.Comm.StartAllReduce(what, tensors)
}

func (r recorder) AllReduce(what string, tensors []*device.Buffer) ([]*device.Buffer, error) {
	r.say("all-reduce %s", what)
	return r.Comm.AllReduce(what, tensors)
}

// spoken is maths that tells of squares and updates.
type spoken struct {
	hostMaths
	say func(format string, args ...any)
}

func (m spoken) Squares(grads []*device.Buffer) (*device.Buffer, error) {
	m.say("squares")
	return m.hostMaths.Squares(grads)
}

func (m spoken) Update(p, m1, m2, grads []*device.Buffer, rates []float64, hyper, scale *device.Buffer) (np, nm1, nm2 []*device.Buffer, err error) {
	m.say("update")
	return m.hostMaths.Update(p, m1, m2, grads, rates, hyper, scale)
}

// rank is one rank of a test: its state, and what it was seen to do.
type rank struct {
	*State
	dev   *device.Client
	aside Gatherer // of the ranks of one copy; nil = it is alone
	trace []string
}

func (r *rank) say(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...))
}

// mesh is replicate x shard ranks.
type mesh struct {
	replicate, shard int
	keep             bool // blocks are not resharded after their forward pass
	offload          bool
	narrow           bool // what is frozen is little beside what is trained
	together         int  // tensors that are squared and updated at once
}

func (m mesh) layout() []Group {
	if m.narrow {
		return layoutOf(3)
	}
	return layout()
}

// open makes a mesh's ranks; each gets its own state.
func open(t *testing.T, m mesh) []*rank {
	t.Helper()
	return openOn(t, devicetest.Open(t), m)
}

// openOn is open for a test of several meshes.
func openOn(t *testing.T, dev *device.Client, m mesh) []*rank {
	t.Helper()
	ranks := make([]*rank, m.replicate*m.shard)
	comms := func(n int, name string) (out []collective.Comm) {
		if n == 1 {
			return []collective.Comm{collective.Solo{}}
		}
		for _, h := range collective.Loopback(t.Context(), name, n, time.Minute) {
			out = append(out, h)
		}
		return out
	}
	across := make([][]collective.Comm, m.shard)
	for s := range m.shard {
		across[s] = comms(m.replicate, "dp_replicate")
	}
	for c := range m.replicate {
		aside := comms(m.shard, "checkpoint")
		for s, comm := range comms(m.shard, "dp_shard") {
			r := &rank{dev: dev}
			if h, ok := aside[s].(*collective.Host); ok {
				r.aside = h
			}
			r.State = New(dev, Ranks{recorder{comm, r.say}, recorder{across[s][c], r.say}, collective.Solo{}, !m.keep, m.offload}, spoken{hostMaths{dev, m.together}, r.say}, m.layout())
			for g, group := range m.layout() {
				for i, p := range group.Params {
					if err := r.Load(g, i, count(p.Shape.Size()/p.Shape.Dims[0])); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := r.ZeroMoments(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Close)
			ranks[c*m.shard+s] = r
		}
	}
	return ranks
}

// together runs f on all ranks at once.
func together(t *testing.T, ranks []*rank, f func(n int, r *rank) error) {
	t.Helper()
	errs := make([]error, len(ranks))
	var all sync.WaitGroup
	for n, r := range ranks {
		all.Go(func() { errs[n] = f(n, r) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// gradients are those of sample n in block l: small integers.
func (r *rank) gradients(l, n int) ([]*device.Buffer, error) {
	var out []*device.Buffer
	for i, p := range layout()[l].Params[1:] {
		v := make([]float32, p.Shape.Size())
		for k := range v {
			v[k] = float32((n*7+l*3+i+k)%5 - 2)
		}
		b, err := device.FromSlice(r.dev, dtypes.Float32, v, p.Shape.Dims...)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// all is everything that the rank of a copy reads and the first of them makes whole; nil on the others.
func (r *rank) all() ([]Tensor, error) { return r.whole(r.Read()) }

// whole is what a reading has, on the first rank of a copy.
func (r *rank) whole(from *Reading) (out []Tensor, err error) {
	err = from.Each(r.aside, func(x Tensor) error {
		out = append(out, x)
		return nil
	})
	return out, err
}

// step is the schedule of the trainer's step, on samples given as numbers; with remat the backward pass runs the forward
// of its block again.
func (r *rank) step(ctx context.Context, samples []int, remat bool) (Outcome, error) {
	p := r.Begin(ctx)
	for i, n := range samples {
		p.Root()
		r.say("embed")
		for l := range blocks {
			p.Unshard(l)
			p.Prefetch(l + 1)
			r.say("forward block %d", l)
			p.ReshardAfterForward(l)
		}
		p.Root()
		r.say("loss")
		loss, err := r.dev.Scalar(float32(n))
		if err != nil {
			return Outcome{}, err
		}
		p.AddLoss(loss, 1)
		for l := blocks - 1; l >= 0; l-- {
			p.Unshard(l)
			p.Prefetch(l - 1)
			if remat {
				r.say("forward block %d again", l)
			}
			r.say("backward block %d", l)
			p.Reshard(l)
			grads, err := r.gradients(l, n)
			if err != nil {
				return Outcome{}, err
			}
			p.Accumulate(l, grads)
			if i == len(samples)-1 {
				p.ReduceScatter(l)
			}
		}
	}
	s, err := p.Finish(0.5, 0)
	if err != nil {
		return Outcome{}, err
	}
	r.say("end of the step")
	return s.Read()
}

// TestSharded: on any number of ranks, replicated or not, and with any number of micro-batches, a step leaves the same
// parameters and moments, loss and norm as on one rank: all numbers are small integers, so to the bit.
func TestSharded(t *testing.T) {
	samples := []int{3, 1, 4, 1, 5, 9, 2, 6}
	alone := open(t, mesh{replicate: 1, shard: 1})[0]
	want, err := alone.step(t.Context(), samples, false)
	if err != nil {
		t.Fatal(err)
	}
	tensors, err := alone.all()
	if err != nil {
		t.Fatal(err)
	}
	if want.Tokens != 8 || want.Loss != 31.0/8 || want.Norm == 0 {
		t.Errorf("one rank: %+v", want)
	}
	for _, m := range []mesh{
		{replicate: 1, shard: 1, offload: true}, {replicate: 1, shard: 2}, {replicate: 1, shard: 4}, {replicate: 2, shard: 2},
		{replicate: 2, shard: 2, offload: true}, {replicate: 4, shard: 1}, {replicate: 1, shard: 8}, {replicate: 1, shard: 2, narrow: true},
		{replicate: 1, shard: 1, together: 4}, {replicate: 2, shard: 2, together: 5}, {replicate: 1, shard: 2, together: 64},
		{replicate: 1, shard: 2, narrow: true, together: 64},
	} {
		t.Run(fmt.Sprintf("%dx%d offload %t narrow %t together %d", m.replicate, m.shard, m.offload, m.narrow, m.together), func(t *testing.T) {
			ranks := open(t, m)
			per := len(samples) / len(ranks)
			got := make([][]Tensor, len(ranks))
			together(t, ranks, func(n int, r *rank) error {
				o, err := r.step(t.Context(), samples[n*per:(n+1)*per], false)
				if err != nil {
					return err
				}
				if o != want {
					t.Errorf("rank %d: %+v, want %+v", n, o, want)
				}
				got[n], err = r.all()
				return err
			})
			for n := range ranks {
				want := tensors
				if n%m.shard > 0 { // the first of its copy has it all
					want = nil
				}
				sameTensors(t, fmt.Sprint("rank ", n), got[n], want)
			}
		})
	}
}

func sameTensors(t *testing.T, what string, got, want []Tensor) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d tensors, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.Name != w.Name || !slices.Equal(g.Data, w.Data) || !slices.Equal(g.M1, w.M1) || !slices.Equal(g.M2, w.M2) {
			t.Errorf("%s: %s differs", what, w.Name)
		}
	}
}

// TestTensor: of two ranks that hold parts of the parameters a and the same of all others, both clip by the norm of the
// whole, and what is read has both parts of a.
func TestTensor(t *testing.T) {
	dev := devicetest.Open(t)
	alone := openOn(t, dev, mesh{replicate: 1, shard: 1})[0]
	if _, err := alone.step(t.Context(), []int{1}, false); err != nil {
		t.Fatal(err)
	}
	var whole, part float64 // sums of squares: of all parameters' gradients, of those with parts
	for l := range blocks {
		grads, err := alone.gradients(l, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range grads {
			v, err := read(b)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range v {
				whole += float64(f * f)
				if layout()[l].Params[1+i].Split {
					part += float64(f * f)
				}
			}
		}
		device.FreeAll(grads)
	}
	ranks := openOn(t, dev, mesh{replicate: 1, shard: 1})
	ranks = append(ranks, openOn(t, dev, mesh{replicate: 1, shard: 1})...)
	for i, c := range collective.Loopback(t.Context(), "tp", 2, time.Minute) {
		ranks[i].ranks.Tensor = recorder{c, ranks[i].say}
	}
	for i, c := range collective.Loopback(t.Context(), "checkpoint", 2, time.Minute) {
		ranks[i].aside = c
	}
	want, err := alone.all()
	if err != nil {
		t.Fatal(err)
	}
	together(t, ranks, func(n int, r *rank) error {
		o, err := r.step(t.Context(), []int{1}, false)
		if err != nil {
			return err
		}
		if norm := math.Sqrt(whole + part); o.Loss != 1 || o.Tokens != 1 || math.Abs(o.Norm/norm-1) > 1e-6 {
			t.Errorf("rank %d: %+v, want the norm %g", n, o, norm)
		}
		got, err := r.all()
		if n == 1 && got != nil {
			t.Errorf("rank 1 keeps %d tensors", len(got))
		}
		for i, g := range got {
			w := want[i]
			if w.Split {
				w.Data, w.M1, w.M2 = twice(w.Data), twice(w.M1), twice(w.M2)
			}
			if !slices.Equal(g.Data, w.Data) || !slices.Equal(g.M1, w.M1) || !slices.Equal(g.M2, w.M2) {
				t.Errorf("%s differs", g.Name)
			}
		}
		return err
	})
	if !slices.Equal(ranks[0].trace, ranks[1].trace) || !slices.Contains(ranks[0].trace, "all-reduce squares") {
		t.Errorf("the ranks go\n%s\nand\n%s", strings.Join(ranks[0].trace, "\n"), strings.Join(ranks[1].trace, "\n"))
	}
}

func twice(b []byte) []byte { return slices.Concat(b, b) }

// TestHeld: what a rank holds falls as one over the number of ranks, but for the rows that fill the last shards:
// tensors of 7 and 2 rows among 4 ranks take the room of 8 and 4.
func TestHeld(t *testing.T) {
	whole := 0
	for _, g := range layout() {
		for _, p := range g.Params {
			whole += p.Shape.Bytes()
			if p.Trained {
				whole += 2 * p.Shape.Bytes()
			}
		}
	}
	for _, n := range []int{1, 2, 4} {
		for _, r := range open(t, mesh{replicate: 1, shard: n}) {
			held := 0
			for _, g := range r.groups {
				for _, b := range slices.Concat(g.shards, g.m1, g.m2) {
					held += b.Shape().Bytes()
				}
			}
			if held*n < whole || held*n > whole*3/2 {
				t.Errorf("one of %d ranks holds %d of %d bytes", n, held, whole)
			}
		}
	}
}

// fixer writes down what it is given to fix.
type fixer struct {
	collective.Comm
	fixed map[string]int
}

func (f fixer) Fix(what string, shards []*device.Buffer) ([]*device.Buffer, error) {
	f.fixed[what] = len(shards)
	return f.Comm.Fix(what, shards)
}

// TestFix: of each block what is frozen is fixed, but not a root group that is gathered once, nor what lies in host memory.
func TestFix(t *testing.T) {
	for _, c := range []struct {
		mesh mesh
		want map[string]int
	}{
		{mesh{replicate: 1, shard: 2}, map[string]int{"block 0": 1, "block 1": 1, "block 2": 1}},
		{mesh{replicate: 1, shard: 2, offload: true}, map[string]int{}},
	} {
		for n, r := range open(t, c.mesh) {
			f := fixer{r.ranks.Shard, map[string]int{}}
			r.ranks.Shard = f
			if err := r.Fix(); err != nil || !maps.Equal(f.fixed, c.want) {
				t.Errorf("rank %d of %+v fixes %v, want %v (%v)", n, c.mesh, f.fixed, c.want, err)
			}
		}
	}
}

// TestSticky: after a failure a pass does nothing more, Finish says what it was, and no buffer is left.
func TestSticky(t *testing.T) {
	r := open(t, mesh{replicate: 1, shard: 1})[0]
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	if _, err := r.step(ctx, []int{1, 2}, false); !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
	s, err := r.Begin(t.Context()).Finish(1, 0)
	if err == nil {
		_, err = s.Read()
	}
	if !errors.Is(err, errNoTokens) {
		t.Errorf("a step of nothing: %v", err)
	}
}
