package collective

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

// each runs f for every rank at once and returns what each of them returned.
func each(comms []Comm, f func(c Comm) error) []error {
	return perRank(len(comms), func(r int) error { return f(comms[r]) })
}

// perRank runs f for ranks 0 to n-1 at once and returns what each of them returned.
func perRank(n int, f func(r int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for r := range n {
		all.Go(func() { errs[r] = f(r) })
	}
	all.Wait()
	return errs
}

// networks are the ways to n ranks in this process: goroutines and sockets.
func networks(t *testing.T, n int, run func(t *testing.T, comms []Comm)) {
	t.Helper()
	t.Run("loopback", func(t *testing.T) {
		var comms []Comm
		for _, h := range Loopback(t.Context(), "dp_shard", n, time.Minute) {
			comms = append(comms, h)
		}
		run(t, comms)
	})
	t.Run("tcp", func(t *testing.T) {
		var comms []Comm
		ranks := make([]int, n)
		for r := range ranks {
			ranks[r] = r
		}
		for _, j := range joinAll(t, n, nil) {
			comms = append(comms, j.Comm("dp_shard", ranks))
		}
		run(t, comms)
	})
}

// values are rank's numbers for tensor i: small integers, whose sums are exact in every dtype.
func values(rank, i, n int) []float32 {
	rng := rand.New(rand.NewPCG(uint64(rank), uint64(i)))
	out := make([]float32, n)
	for k := range out {
		out[k] = float32(rng.IntN(9) - 4)
	}
	return out
}

func encode(t dtypes.DType, v []float32) []byte {
	var b []byte
	for _, f := range v {
		switch u := math.Float32bits(f); t {
		case dtypes.F8E4M3FN:
			b = append(b, byte(u>>20)) // any bits
		case dtypes.BFloat16:
			b = append(b, byte(u>>16), byte(u>>24))
		case dtypes.Int32:
			u = uint32(int32(f))
			b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
		default:
			b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
		}
	}
	return b
}

// sizes of the tensors of one collective: uneven, fewer rows than ranks, one row, every dtype.
var shapes = []device.Shape{
	device.MakeShape(dtypes.Float32, 7, 3), device.MakeShape(dtypes.BFloat16, 12), device.MakeShape(dtypes.Float32, 1, 5),
	device.MakeShape(dtypes.Int32, 2, 2, 2), device.MakeShape(dtypes.Float32, 64),
}

// moved are the tensors of a collective that only moves: 8-bit floats too, which nobody adds up.
var moved = append([]device.Shape{device.MakeShape(dtypes.F8E4M3FN, 7, 5)}, shapes...)

// sumOf is what ranks' values of tensor i add up to.
func sumOf(ranks, i, n int) []float32 {
	sum := make([]float32, n)
	for r := range ranks {
		for k, v := range values(r, i, n) {
			sum[k] += v
		}
	}
	return sum
}

// shardOf cuts a rank's shard out of a whole tensor, filled with zeros.
func shardOf(s device.Shape, size, rank int, whole []byte) []byte {
	row := s.Bytes() / s.Dims[0]
	lo, hi := Part(s.Dims[0], size, rank)
	return append(slices.Clone(whole[lo*row:hi*row]), make([]byte, (ShardRows(s.Dims[0], size)-hi+lo)*row)...)
}

// holds fails unless the buffers hold the wanted bytes; it frees them.
func holds(got []*device.Buffer, want func(i int) []byte) error {
	defer device.FreeAll(got)
	for i, b := range got {
		have := make([]byte, b.Shape().Bytes())
		if err := b.Download(have); err != nil {
			return err
		}
		if !slices.Equal(have, want(i)) {
			return fmt.Errorf("tensor %d: %x, want %x", i, have, want(i))
		}
	}
	return nil
}

// TestCollectives: for 2 to 5 ranks, on every network, all collectives give exactly what they should.
func TestCollectives(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Open(t)
	for n := 2; n <= 5; n++ {
		networks(t, n, func(t *testing.T, comms []Comm) { exact(t, dev, comms) })
	}
}

// exact holds every collective of all ranks at once to what it should give.
func exact(t *testing.T, dev *device.Client, comms []Comm) {
	t.Helper()
	n := len(comms)
	upload := func(shapes []device.Shape, data func(i int) []byte, size func(s device.Shape) device.Shape) (out []*device.Buffer) {
		for i, s := range shapes {
			b, err := dev.Upload(data(i), size(s))
			if err != nil {
				t.Error(err)
			}
			out = append(out, b)
		}
		return out
	}
	asIs := func(s device.Shape) device.Shape { return s }
	errs := each(comms, func(c Comm) error {
		whole := upload(shapes, func(i int) []byte { return encode(shapes[i].DType, values(c.Rank(), i, shapes[i].Size())) }, asIs)
		defer device.FreeAll(whole)
		sum := func(i int) []byte { return encode(shapes[i].DType, sumOf(n, i, shapes[i].Size())) }
		own := func(i int) []byte { return shardOf(shapes[i], n, c.Rank(), sum(i)) }
		first := func(i int) []byte { return encode(moved[i].DType, values(0, i, moved[i].Size())) }
		shards := upload(moved, func(i int) []byte { return shardOf(moved[i], n, c.Rank(), first(i)) }, func(s device.Shape) device.Shape { return ShardShape(s, n) })
		defer device.FreeAll(shards)
		// Downloads of what was started are good where memory is the host's.
		for _, made := range []struct {
			by   func() ([]*device.Buffer, error)
			want func(i int) []byte
		}{
			{func() ([]*device.Buffer, error) { return c.AllReduce("sums", whole) }, sum},
			{func() ([]*device.Buffer, error) { return outcome(c.StartAllReduce("sums", whole)) }, sum},
			{func() ([]*device.Buffer, error) { return c.ReduceScatter("sums", whole) }, own},
			{func() ([]*device.Buffer, error) { return outcome(c.StartReduceScatter("sums", whole)) }, own},
			{func() ([]*device.Buffer, error) { return c.AllGather("weights", shards, moved) }, first},
			{func() ([]*device.Buffer, error) { return outcome(c.StartAllGather("weights", shards, moved)) }, first},
		} {
			got, err := made.by()
			if err := errors.Join(err, holds(got, made.want)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Errorf("%d ranks: %v", n, err)
	}
}

// TestMemory: the collectives on plain memory.
func TestMemory(t *testing.T) {
	const n, part = 3, 8
	networks(t, n, func(t *testing.T, comms []Comm) {
		errs := each(comms, func(c Comm) error {
			h, f32 := c.(*Host), dtypes.Float32
			own := func(rank int) []byte { return encode(f32, values(rank, 0, n*part)) }
			sum := encode(f32, sumOf(n, 0, n*part))
			src, dst := own(c.Rank()), make([]byte, len(own(0)))
			cut := func(b []byte, p int) []byte { return b[p*4*part : (p+1)*4*part] }
			if err := h.ReduceScatterMemory("sum", dst[:4*part], src, f32); err != nil || !slices.Equal(dst[:4*part], cut(sum, c.Rank())) {
				return fmt.Errorf("reduce-scatter: a wrong sum, or %w", err)
			}
			if err := h.AllGatherMemory("sum", dst, slices.Clone(dst[:4*part])); err != nil || !slices.Equal(dst, sum) {
				return fmt.Errorf("all-gather: other parts, or %w", err)
			}
			if err := h.AllReduceMemory("sum", src, src, f32); err != nil || !slices.Equal(src, sum) {
				return fmt.Errorf("all-reduce in place: a wrong sum, or %w", err)
			}
			return gathers(h)
		})
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
}

// TestSameBits: the order of a sum depends on nothing but the ranks, and all ranks hold the same bits.
func TestSameBits(t *testing.T) {
	const n = 4
	run := func() [][]byte {
		var comms []Comm
		for _, h := range Loopback(t.Context(), "dp", n, time.Minute) {
			comms = append(comms, h)
		}
		out := make([][]byte, n)
		if err := errors.Join(each(comms, func(c Comm) error {
			rng := rand.New(rand.NewPCG(3, uint64(c.Rank())))
			v := make([]float32, 1001)
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
			out[c.Rank()] = encode(dtypes.Float32, v)
			return c.(*Host).AllReduceMemory("sum", out[c.Rank()], out[c.Rank()], dtypes.Float32)
		})...); err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := run()
	for r, b := range append(first, run()...) {
		if !slices.Equal(b, first[0]) {
			t.Errorf("sum %d has other bits", r)
		}
	}
}

// gathers brings memory of each rank, longer with its number, to rank 0, and refuses what does not fit.
func gathers(h *Host) error {
	mine := bytes.Repeat([]byte{byte('a' + h.rank)}, h.rank+1)
	var dst [][]byte
	for r := 0; h.rank == 0 && r < h.size; r++ {
		dst = append(dst, make([]byte, r+1))
	}
	if err := h.GatherMemory("x", dst, mine); err != nil {
		return err
	}
	if got := fmt.Sprintf("%s", dst); h.rank == 0 && got != "[a bb ccc]" {
		return fmt.Errorf("rank 0 has %s", got)
	}
	if err := h.GatherMemory("x", [][]byte{mine}, mine); err == nil || !strings.Contains(err.Error(), "into 1 pieces of memory") {
		return fmt.Errorf("into too little memory: %w", err)
	}
	return nil
}

// TestDisorder: ranks that are in different collectives are told so, all of them.
func TestDisorder(t *testing.T) {
	networks(t, 3, func(t *testing.T, comms []Comm) {
		errs := each(comms, func(c Comm) error {
			b := make([]byte, 12)
			if c.Rank() == 1 {
				return c.(*Host).ReduceScatterMemory("x", make([]byte, 4), b, dtypes.Float32)
			}
			return c.(*Host).AllReduceMemory("x", b, b, dtypes.Float32)
		})
		for r, err := range errs {
			if err == nil || !strings.Contains(err.Error(), "every rank must run the same recipe") {
				t.Errorf("rank %d: %v", r, err)
			}
		}
	})
}

// TestCancel: cancelling the context ends a collective that waits, and every later one.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	comms := Loopback(ctx, "dp", 2, time.Minute)
	reason := errors.New("the user has had enough")
	go cancel(reason)
	b := make([]byte, 8)
	for range 2 {
		if err := comms[0].AllReduceMemory("x", b, b, dtypes.Float32); !errors.Is(err, reason) {
			t.Errorf("got %v, want the cause of the cancelling", err)
		}
	}
}
