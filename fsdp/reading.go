package fsdp

import (
	"fmt"
	"sync/atomic"
	"time"

	"gorun/collective"
)

// Reading is a state at one step on its way to the host, while training goes on. What makes that safe is that only an
// update changes parameters and moments, and that it waits for a group to have been read before it consumes it. So
// nothing is copied on the device, and training waits only for what a forward and a backward pass did not cover.
//
// Every rank reads its own shards. Each then makes tensors whole, which with several ranks takes what a Gatherer brings;
// training does not wait for that.
//
// Rejected: a copy on the device, which holds the state twice where memory is shortest; updates that leave their inputs
// alone while these are being read, which do the same, and in other programs than all other steps; the step's own
// collectives, which only its goroutine may issue and which training would have to wait for.
type Reading struct {
	steps   int
	shard   int             // sizes of Ranks.Shard
	tensor  int             // and of Ranks.Tensor
	groups  []chan struct{} // per group: closed when it is on the host, or never will be
	batches []*batch
	waited  atomic.Int64 // nanoseconds that updates waited
}

// batch is tensors that are made whole together.
type batch struct {
	what string
	held []held
	data []byte        // what this rank has of them: of each its shard, and those of its moments
	read chan struct{} // closed when data is there, or err says why it is not
	err  error
}

// Gatherer brings memory of ranks to the first of them, in an order of its own beside the step's collectives, from one
// goroutine. Its ranks are those of Ranks.Shard x Ranks.Tensor, that of Tensor changing fastest.
type Gatherer interface {
	Rank() int
	// GatherMemory fills dst[r] with rank r's src on rank 0; on the others dst is nil.
	GatherMemory(what string, dst [][]byte, src []byte) error
}

// Read begins to read this rank's shards of all trained parameters and their moments. One Reading of a state is under
// way at a time: Read waits for the one before. Its memory is the host's, as much as the shards.
func (s *State) Read() *Reading {
	s.settle(len(s.groups) - 1)
	behind := s.bringAll()
	r := &Reading{steps: s.steps, shard: s.ranks.Shard.Size(), tensor: s.ranks.Tensor.Size()}
	var ends []int // per group: how many tensors there are up to its end
	var all []held
	for _, g := range s.groups {
		all = append(all, g.held()...)
		ends = append(ends, len(all))
		r.groups = append(r.groups, make(chan struct{}))
	}
	r.batches = batches(all)
	go r.read(ends, s.ranks.Tensor.Rank() == 0, behind)
	s.reading = r
	return r
}

// read brings this rank's shards to the host, in order; first tells whether it has those that all parts have alike, and
// failed why it is to bring nothing.
func (r *Reading) read(ends []int, first bool, failed error) {
	done, group := 0, 0
	tell := func() {
		for ; group < len(ends) && ends[group] <= done; group++ {
			close(r.groups[group])
		}
	}
	tell()
	for _, b := range r.batches {
		if failed == nil {
			b.data = make([]byte, b.size(r.shard, first))
		}
		at := b.data
		for _, h := range b.held {
			if n := h.size(r.shard, first); failed == nil {
				failed = h.download(at[:n], n)
				at = at[n:]
			}
			done++
			tell()
		}
		b.err = failed
		close(b.read)
	}
}

// Steps is the number of optimizer steps that the state had taken.
func (r *Reading) Steps() int { return r.steps }

// Waited is for how long updates have waited for it so far.
func (r *Reading) Waited() time.Duration { return time.Duration(r.waited.Load()) }

// Each makes the tensors whole and gives them to take, one by one, on the first of the ranks that g connects; on the
// others it gives what they hold to that one. g is nil where no other rank holds anything. It is called once.
func (r *Reading) Each(g Gatherer, take func(Tensor) error) error {
	for i, b := range r.batches {
		if <-b.read; b.err != nil {
			return fmt.Errorf("fsdp: %s: %w", b.what, b.err)
		}
		parts := [][]byte{b.data}
		if g != nil {
			parts = r.room(g, b)
			if err := g.GatherMemory(b.what, parts, b.data); err != nil {
				return fmt.Errorf("fsdp: %s: %w", b.what, err)
			}
		}
		r.batches[i] = nil
		if parts == nil {
			continue
		}
		for _, h := range b.held {
			t := r.whole(h, parts)
			if err := take(t); err != nil {
				return fmt.Errorf("fsdp: keep %s: %w", h.Name, err)
			}
		}
	}
	return nil
}

// room is memory for what all ranks have of a batch, nil but on the first of them.
func (r *Reading) room(g Gatherer, b *batch) [][]byte {
	if g.Rank() > 0 {
		return nil
	}
	parts := make([][]byte, r.shard*r.tensor)
	for i := range parts {
		parts[i] = make([]byte, b.size(r.shard, i%r.tensor == 0))
	}
	return parts
}

// whole takes a tensor and its moments from the front of what each rank has.
func (r *Reading) whole(h held, parts [][]byte) Tensor {
	t := Tensor{Param: h.Param}
	copies := 1
	if h.Split {
		copies = r.tensor
	}
	bytes, shard := h.Shape.Bytes(), h.size(r.shard, true)/3
	row := bytes / h.Shape.Dims[0]
	for _, dst := range []*[]byte{&t.Data, &t.M1, &t.M2} {
		if len(parts) == 1 {
			*dst, parts[0] = parts[0][:shard:shard], parts[0][shard:]
			continue
		}
		*dst = make([]byte, copies*bytes)
		for n := range parts {
			s, part := n/r.tensor, n%r.tensor
			if part >= copies {
				continue
			}
			lo, hi := collective.Part(h.Shape.Dims[0], r.shard, s)
			copy((*dst)[part*bytes+lo*row:], parts[n][:(hi-lo)*row])
			parts[n] = parts[n][shard:]
		}
	}
	return t
}

// settle waits until group l, and those before it, may be changed.
func (s *State) settle(l int) {
	r := s.reading
	if r == nil {
		return
	}
	start := time.Now()
	for _, g := range r.groups[:l+1] {
		<-g
	}
	r.waited.Add(int64(time.Since(start)))
	if l == len(r.groups)-1 {
		s.reading = nil
	}
}
