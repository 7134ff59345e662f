package collective

import (
	"fmt"
	"sync"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
	"gorun/csrc/device"
)

// NCCL is a Comm of NVIDIA GPUs. No call waits for the device: a collective is queued on the communicator's own stream,
// behind what makes its arguments, and XLA's queue waits for it where its results are asked for (device.Stream). Tensors
// are moved from and to the memory of buffers, all of one call as one group of NCCL's, without copies; shards that never
// change are read where they are, without NCCL (Fix).
//
// It is also a csrc.StreamCommunicator: collectives inside programs are queued on the stream that XLA gives. One
// communicator serves either programs or the step, never both, because their order differs from rank to rank.
//
// NCCL does its part of a call in a thread of its own, so that a lost peer cannot hold a caller fast: whoever queues looks
// until NCCL has done it, and gives up when the job ends. Fabric watches what is queued, and aborts.
type NCCL struct {
	name       string // of the axis
	programs   bool   // it is for collectives inside programs
	rank, size int
	ranks      []int // of the world, by rank of the communicator
	fabric     *Fabric
	queue      queue
	comm       csrc.NCCLComm

	regions []*region                // of fixed shards
	places  map[*device.Buffer]place // of fixed shards

	mu    sync.Mutex // held while NCCL is called
	seq   uint64     // protected by mu
	ended bool       // comm is gone; protected by mu

	looking sync.Mutex // held while the device is asked what it has done
	waiting sync.Mutex
	pending []pending // what the device has not done, in order; protected by waiting
	traffic Traffic   // of what it has done; protected by waiting
}

// queue is what NCCL needs of a device.Stream.
type queue interface {
	Handle() csrc.Stream
	Room(shapes []device.Shape) ([]*device.Buffer, error)
	Borrow(shapes []device.Shape) (buffers []*device.Buffer, after mark, err error)
	Behind(m mark) error
	After(buffers ...*device.Buffer) error
	Zero(b *device.Buffer, offset, n int) error
	MarkOn(s csrc.Stream) (mark, error)
	Publish(m mark, buffers []*device.Buffer) ([]*device.Buffer, error)
	Join(m mark) error
	Waited() (time.Duration, error)
	Close() error
}

// mark is a point in a queue.
type mark interface {
	Passed() (bool, error)
	Since(earlier mark) (time.Duration, error)
	Free()
}

var _ csrc.StreamCommunicator = (*NCCL)(nil)

// Rank is this process's place in the communicator.
func (n *NCCL) Rank() int { return n.rank }

// Size is the number of ranks.
func (n *NCCL) Size() int { return n.size }

// AllGather implements Comm.
func (n *NCCL) AllGather(what string, shards []*device.Buffer, whole []device.Shape) ([]*device.Buffer, error) {
	return outcome(n.gather(what, shards, whole, false))
}

// ReduceScatter implements Comm.
func (n *NCCL) ReduceScatter(what string, whole []*device.Buffer) ([]*device.Buffer, error) {
	return outcome(n.reduceScatter(what, whole, false))
}

// AllReduce implements Comm.
func (n *NCCL) AllReduce(what string, tensors []*device.Buffer) ([]*device.Buffer, error) {
	return outcome(n.allReduce(what, tensors, false))
}

// StartAllGather implements Comm.
func (n *NCCL) StartAllGather(what string, shards []*device.Buffer, whole []device.Shape) (Work, error) {
	return n.gather(what, shards, whole, true)
}

// StartReduceScatter implements Comm.
func (n *NCCL) StartReduceScatter(what string, whole []*device.Buffer) (Work, error) {
	return n.reduceScatter(what, whole, true)
}

// StartAllReduce implements Comm.
func (n *NCCL) StartAllReduce(what string, tensors []*device.Buffer) (Work, error) {
	return n.allReduce(what, tensors, true)
}

// gather starts an all-gather, for programs alone or not. A tensor whose rows do not divide evenly is sent by every rank in
// turn: its shards are filled, the whole is not.
func (n *NCCL) gather(what string, shards []*device.Buffer, whole []device.Shape, forPrograms bool) (Work, error) {
	if err := checkShards(what, shards, whole, n.size); err != nil {
		return nil, err
	}
	w := &work{op: allGather, what: what, in: shards, forPrograms: forPrograms}
	return n.start(w, whole, func(i int, src, dst uintptr) moves {
		if p, ok := n.places[shards[i]]; ok {
			return p.pull(dst, whole[i])
		}
		rows, row := whole[i].Dims[0], whole[i].Bytes()/max(1, whole[i].Dims[0])
		if rows%n.size == 0 {
			return one(csrc.NCCLOp{Kind: csrc.NCCLAllGather, DType: dtypes.Uint8, Src: src, Dst: dst, Count: rows / n.size * row})
		}
		return n.each(rows, func(root, lo, hi int) csrc.NCCLOp {
			return csrc.NCCLOp{Kind: csrc.NCCLBroadcast, DType: dtypes.Uint8, Root: root, Src: src, Dst: dst + uintptr(lo*row), Count: (hi - lo) * row}
		})
	})
}

// reduceScatter starts a reduce-scatter. Uneven rows are reduced to every rank in turn.
func (n *NCCL) reduceScatter(what string, whole []*device.Buffer, forPrograms bool) (Work, error) {
	if _, err := dtypesOf(whole); err != nil {
		return nil, fmt.Errorf("reduce-scatter %s: %w", what, err)
	}
	shards := make([]device.Shape, len(whole))
	for i, b := range whole {
		shards[i] = ShardShape(b.Shape(), n.size)
	}
	w := &work{op: reduceScatter, what: what, in: whole, forPrograms: forPrograms}
	return n.start(w, shards, func(i int, src, dst uintptr) moves {
		s := whole[i].Shape()
		rows, row := s.Dims[0], s.Size()/max(1, s.Dims[0])
		if rows%n.size == 0 {
			return one(csrc.NCCLOp{Kind: csrc.NCCLReduceScatter, DType: s.DType, Src: src, Dst: dst, Count: rows / n.size * row})
		}
		return n.each(rows, func(root, lo, hi int) csrc.NCCLOp {
			return csrc.NCCLOp{Kind: csrc.NCCLReduce, DType: s.DType, Root: root, Src: src + uintptr(lo*row*s.DType.Size()), Dst: dst, Count: (hi - lo) * row}
		})
	})
}

// allReduce starts an all-reduce.
func (n *NCCL) allReduce(what string, tensors []*device.Buffer, forPrograms bool) (Work, error) {
	types, err := dtypesOf(tensors)
	if err != nil {
		return nil, fmt.Errorf("all-reduce %s: %w", what, err)
	}
	shapes := shapesOf(tensors)
	w := &work{op: allReduce, what: what, in: tensors, forPrograms: forPrograms}
	return n.start(w, shapes, func(i int, src, dst uintptr) moves {
		return one(csrc.NCCLOp{Kind: csrc.NCCLAllReduce, DType: types[i], Src: src, Dst: dst, Count: shapes[i].Size()})
	})
}

// each is one collective for every rank that holds rows.
func (n *NCCL) each(rows int, op func(root, lo, hi int) csrc.NCCLOp) (m moves) {
	for r := range n.size {
		if lo, hi := Part(rows, n.size, r); lo < hi {
			m.group = append(m.group, op(r, lo, hi))
		}
	}
	return m
}

// start starts one group of collectives from a work's buffers to new ones of the shapes out; of tells what moves tensor i.
func (n *NCCL) start(w *work, out []device.Shape, of func(i int, src, dst uintptr) moves) (Work, error) {
	if len(w.in) == 0 {
		return done(nil), nil
	}
	w.n, w.begun = n, make(chan struct{})
	if err := w.room(out); err != nil {
		return nil, w.fail(err)
	}
	for i, b := range w.made {
		src, err := w.in[i].Pointer()
		if err != nil {
			return nil, w.fail(err)
		}
		dst, err := b.Pointer()
		if err != nil {
			return nil, w.fail(err)
		}
		w.add(of(i, src, dst))
		w.bytes += w.in[i].Shape().Bytes()
	}
	n.fabric.give(w)
	return w, nil
}
