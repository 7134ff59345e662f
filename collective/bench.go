package collective

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gomlx/compute/dtypes"
)

// Speed is one measured collective, in the terms of nccl-tests.
type Speed struct {
	Op     string  `json:"op"`
	Bytes  int     `json:"bytes"` // of the whole tensor
	Ranks  int     `json:"ranks"`
	Time   float64 `json:"time_s"`    // of one round, on rank 0
	AlgBW  float64 `json:"algbw_gbs"` // Bytes / Time, in 1e9 bytes per second
	BusBW  float64 `json:"busbw_gbs"` // AlgBW scaled to what a link carries: 2(n-1)/n of it for all-reduce, (n-1)/n else
	Rounds int     `json:"rounds"`
}

// measured are the collectives that Bench measures; each moves a tensor of len(whole) bytes, of which part is a rank's.
var measured = []struct {
	op    op
	share float64 // of the tensor that a link carries, in units of (n-1)/n
	run   func(h *Host, whole, part []byte) error
}{
	{allReduce, 2, func(h *Host, whole, _ []byte) error { return h.AllReduceMemory("bench", whole, whole, dtypes.Float32) }},
	{allGather, 1, func(h *Host, whole, part []byte) error { return h.AllGatherMemory("bench", whole, part) }},
	{reduceScatter, 1, func(h *Host, whole, part []byte) error {
		return h.ReduceScatterMemory("bench", part, whole, dtypes.Float32)
	}},
}

// Bench measures the host backend between n ranks that are goroutines of this process and talk over the loopback
// interface. sizes are bytes of the whole tensor; they are rounded down to whole float32 for each rank.
func Bench(ctx context.Context, n int, sizes []int, rounds int) ([]Speed, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := JobConfig{World: n, Addr: l.Addr().String(), Key: make([]byte, 32), StartTimeout: time.Minute, Timeout: time.Minute}
	if _, err := rand.Read(c.Key); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	out := make([][]Speed, n)
	errs := make([]error, n)
	var all sync.WaitGroup
	for r := range n {
		all.Go(func() { out[r], errs[r] = benchRank(ctx, r, c, sizes, rounds) })
	}
	all.Wait()
	return out[0], errors.Join(errs...)
}

func benchRank(ctx context.Context, rank int, c JobConfig, sizes []int, rounds int) (out []Speed, err error) {
	c.Rank = rank
	j, err := Join(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			j.Fail(err)
		}
		err = errors.Join(err, j.Close())
	}()
	ranks := make([]int, c.World)
	for r := range ranks {
		ranks[r] = r
	}
	h := j.Comm("bench", ranks).(*Host)
	for _, m := range measured {
		for _, size := range sizes {
			part := make([]byte, max(1, size/4/c.World)*4)
			whole := make([]byte, len(part)*c.World)
			took, err := median(rounds, func() error { return m.run(h, whole, part) })
			if err != nil {
				return nil, err
			}
			out = append(out, speed(m.op, m.share, len(whole), c.World, took, rounds))
		}
	}
	return out, nil
}

// speed is a measured time in the terms of nccl-tests; share is in units of (n-1)/n.
func speed(o op, share float64, bytes, ranks int, took float64, rounds int) Speed {
	s := Speed{Op: opNames[o], Bytes: bytes, Ranks: ranks, Time: took, Rounds: rounds, AlgBW: float64(bytes) / took / 1e9}
	s.BusBW = s.AlgBW * share * float64(ranks-1) / float64(ranks)
	return s
}

// median is the median time of f in seconds, after two rounds of warm-up.
func median(rounds int, f func() error) (float64, error) {
	var times []float64
	for i := range rounds + 2 {
		start := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		if i >= 2 {
			times = append(times, time.Since(start).Seconds())
		}
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
