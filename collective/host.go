package collective

import (
	"fmt"
	"sync"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
)

// Host is a Comm for devices whose memory is the host's. It reads and writes the buffers' own memory; nothing is copied
// but this rank's own part. A call returns when its results are there.
type Host struct {
	name       string // of the axis
	rank, size int
	wire       wire
	flight     *flight
	timeout    time.Duration
	aside      bool // nobody observes it

	mu  sync.Mutex // held during a collective
	seq uint64
}

// Rank is this process's place in the communicator.
func (h *Host) Rank() int { return h.rank }

// Size is the number of ranks.
func (h *Host) Size() int { return h.size }

// Fix returns the shards: any memory of the host is as good.
func (h *Host) Fix(_ string, shards []*device.Buffer) ([]*device.Buffer, error) { return shards, nil }

// AllGather implements Comm.
func (h *Host) AllGather(what string, shards []*device.Buffer, whole []device.Shape) ([]*device.Buffer, error) {
	if err := checkShards(what, shards, whole, h.size); err != nil {
		return nil, err
	}
	return h.onBuffers(allGather, what, shards, whole, func(r ring, in, out message) error {
		parts := h.rowParts(whole, out)
		for i, own := range parts[h.rank] {
			copy(own, in[i])
		}
		return r.gather(parts)
	})
}

// ReduceScatter implements Comm.
func (h *Host) ReduceScatter(what string, whole []*device.Buffer) ([]*device.Buffer, error) {
	types, err := dtypesOf(whole)
	if err != nil {
		return nil, fmt.Errorf("reduce-scatter %s: %w", what, err)
	}
	shapes, shards := make([]device.Shape, len(whole)), make([]device.Shape, len(whole))
	for i, b := range whole {
		shapes[i], shards[i] = b.Shape(), ShardShape(b.Shape(), h.size)
	}
	return h.onBuffers(reduceScatter, what, whole, shards, func(r ring, in, out message) error {
		parts := h.rowParts(shapes, in)
		own := make(message, len(out))
		for i := range out {
			n := len(parts[h.rank][i])
			own[i] = out[i][:n]
			clear(out[i][n:])
		}
		return r.scatter(types, parts, own)
	})
}

// AllReduce implements Comm.
func (h *Host) AllReduce(what string, tensors []*device.Buffer) ([]*device.Buffer, error) {
	types, err := dtypesOf(tensors)
	if err != nil {
		return nil, fmt.Errorf("all-reduce %s: %w", what, err)
	}
	shapes := shapesOf(tensors)
	return h.onBuffers(allReduce, what, tensors, shapes, func(r ring, in, out message) error {
		from, to := h.elementParts(types, in), h.elementParts(types, out)
		if err := r.scatter(types, from, to[h.rank]); err != nil {
			return err
		}
		return r.gather(to)
	})
}

// StartAllGather is AllGather: the host's cores have enough to do while data moves.
func (h *Host) StartAllGather(what string, shards []*device.Buffer, whole []device.Shape) (Work, error) {
	return ended(h.AllGather(what, shards, whole))
}

// StartReduceScatter is ReduceScatter.
func (h *Host) StartReduceScatter(what string, whole []*device.Buffer) (Work, error) {
	return ended(h.ReduceScatter(what, whole))
}

// StartAllReduce is AllReduce.
func (h *Host) StartAllReduce(what string, tensors []*device.Buffer) (Work, error) {
	return ended(h.AllReduce(what, tensors))
}

// onBuffers runs f on the memory of buffers and of new ones of the shapes out, which it returns.
func (h *Host) onBuffers(o op, what string, in []*device.Buffer, out []device.Shape, f func(r ring, in, out message) error) (made []*device.Buffer, err error) {
	if len(in) == 0 {
		return nil, nil
	}
	defer func() {
		if err != nil {
			device.FreeAll(made)
			made = nil
		}
	}()
	from, to := make(message, len(in)), make(message, len(out))
	for i, b := range in {
		if from[i], err = b.HostMemory(); err != nil {
			return made, fmt.Errorf("%s %s: %w", opNames[o], what, err)
		}
	}
	for i, s := range out {
		b, err := in[0].Client().Uninitialized(s)
		if err != nil {
			return made, fmt.Errorf("%s %s: %w", opNames[o], what, err)
		}
		made = append(made, b)
		if to[i], err = b.HostMemory(); err != nil {
			return made, fmt.Errorf("%s %s: %w", opNames[o], what, err)
		}
	}
	return made, h.run(o, what, from.bytes(), func(r ring) error { return f(r, from, to) })
}

// run is one collective from its entry in the flight record to the end of the job if it fails.
func (h *Host) run(o op, what string, bytes int, f func(ring) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	c := call{o, h.seq, time.Now().Add(h.timeout)}
	end := h.flight.begin(Event{Op: opNames[o], What: what, Comm: h.name, Seq: h.seq, Aside: h.aside}, bytes)
	err := f(ring{h.wire, c, h.rank, h.size})
	if err != nil {
		err = h.wire.fail(c, err)
	}
	end(err)
	if err != nil {
		return fmt.Errorf("%s %s: %s, number %d: %w", opNames[o], what, h.name, c.seq, err)
	}
	return nil
}

// rowParts cuts the memory of tensors into the rows that each rank holds.
func (h *Host) rowParts(shapes []device.Shape, memory message) []message {
	return h.cut(memory, func(i int) (units, bytes int) {
		return shapes[i].Dims[0], shapes[i].Bytes() / max(1, shapes[i].Dims[0])
	})
}

// elementParts cuts the memory of tensors into equal runs of elements.
func (h *Host) elementParts(types []dtypes.DType, memory message) []message {
	return h.cut(memory, func(i int) (units, bytes int) { return len(memory[i]) / types[i].Size(), types[i].Size() })
}

// cut divides each piece of memory, of units of so many bytes, among the ranks.
func (h *Host) cut(memory message, unit func(i int) (units, bytes int)) []message {
	parts := make([]message, h.size)
	for i, m := range memory {
		units, bytes := unit(i)
		for r := range parts {
			lo, hi := Part(units, h.size, r)
			parts[r] = append(parts[r], m[lo*bytes:hi*bytes])
		}
	}
	return parts
}

// checkShards holds an all-gather's shards to the shapes of the whole tensors.
func checkShards(what string, shards []*device.Buffer, whole []device.Shape, size int) error {
	for i, s := range shards {
		if want := ShardShape(whole[i], size); !s.Shape().Equal(want) {
			return fmt.Errorf("all-gather %s: shard %d of %s is %s, want %s", what, i, whole[i], s.Shape(), want)
		}
	}
	return nil
}

func dtypesOf(tensors []*device.Buffer) ([]dtypes.DType, error) {
	out := make([]dtypes.DType, len(tensors))
	for i, b := range tensors {
		out[i] = b.Shape().DType
		if err := summable(out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func shapesOf(tensors []*device.Buffer) []device.Shape {
	out := make([]device.Shape, len(tensors))
	for i, b := range tensors {
		out[i] = b.Shape()
	}
	return out
}
