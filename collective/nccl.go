package collective

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
	"gorun/csrc/device"
)

// NCCL is a Comm of NVIDIA GPUs. No call waits for the device: a collective is queued on the communicator's own stream,
// behind what makes its arguments, and XLA's queue waits for it where its results are asked for (device.Stream). Tensors
// are moved from and to the memory of buffers, all of one call as one group of NCCL's, without copies.
//
// It is also a csrc.StreamCommunicator: collectives inside programs are queued on the stream that XLA gives. One
// communicator serves either programs or the step, never both, because their order differs from rank to rank.
//
// NCCL does its part of a call in a thread of its own, so that a lost peer cannot hold a caller fast: a call looks until
// NCCL has done it, and gives up when the job ends. Fabric watches what is queued, and aborts.
type NCCL struct {
	name       string // of the axis
	rank, size int
	ranks      []int // of the world, by rank of the communicator
	fabric     *Fabric
	queue      queue
	comm       csrc.NCCLComm

	mu    sync.Mutex // held while NCCL is called
	seq   uint64     // protected by mu
	ended bool       // comm is gone; protected by mu

	waiting sync.Mutex
	pending []pending // what the device has not done, in order; protected by waiting
}

// queue is what NCCL needs of a device.Stream.
type queue interface {
	Handle() csrc.Stream
	After(buffers ...*device.Buffer) error
	Zero(b *device.Buffer, offset, n int) error
	MarkOn(s csrc.Stream) (mark, error)
	Publish(m mark, buffers []*device.Buffer) ([]*device.Buffer, error)
	Close() error
}

// mark is a point in a queue.
type mark interface {
	Passed() (bool, error)
	Free()
}

// pending is a collective that the device may not have done.
type pending struct {
	call
	mark *shared
	end  func(error)
}

var _ csrc.StreamCommunicator = (*NCCL)(nil)

// shared is a mark that both the watch and the caller look at; the second to let go of it frees it.
type shared struct {
	mark
	users atomic.Int32
}

func share(m mark) *shared {
	s := &shared{mark: m}
	s.users.Store(2)
	return s
}

func (s *shared) drop() {
	if s.users.Add(-1) == 0 {
		s.Free()
	}
}

// Rank is this process's place in the communicator.
func (n *NCCL) Rank() int { return n.rank }

// Size is the number of ranks.
func (n *NCCL) Size() int { return n.size }

// AllGather implements Comm.
func (n *NCCL) AllGather(what string, shards []*device.Buffer, whole []device.Shape) ([]*device.Buffer, error) {
	return outcome(n.PrepareAllGather(what, shards, whole))
}

// ReduceScatter implements Comm.
func (n *NCCL) ReduceScatter(what string, whole []*device.Buffer) ([]*device.Buffer, error) {
	return outcome(n.PrepareReduceScatter(what, whole))
}

// PrepareAllGather implements Comm. A tensor whose rows do not divide evenly is sent by every rank in turn: its shards are
// filled, the whole is not.
func (n *NCCL) PrepareAllGather(what string, shards []*device.Buffer, whole []device.Shape) (Work, error) {
	if err := checkShards(what, shards, whole, n.size); err != nil {
		return nil, err
	}
	return n.onBuffers(allGather, what, shards, whole, func(i int, src, dst uintptr) []csrc.NCCLOp {
		rows, row := whole[i].Dims[0], whole[i].Bytes()/max(1, whole[i].Dims[0])
		if rows%n.size == 0 {
			return []csrc.NCCLOp{{Kind: csrc.NCCLAllGather, DType: dtypes.Uint8, Src: src, Dst: dst, Count: rows / n.size * row}}
		}
		return n.each(rows, func(root, lo, hi int) csrc.NCCLOp {
			return csrc.NCCLOp{Kind: csrc.NCCLBroadcast, DType: dtypes.Uint8, Root: root, Src: src, Dst: dst + uintptr(lo*row), Count: (hi - lo) * row}
		})
	})
}

// PrepareReduceScatter implements Comm. Uneven rows are reduced to every rank in turn.
func (n *NCCL) PrepareReduceScatter(what string, whole []*device.Buffer) (Work, error) {
	if _, err := dtypesOf(whole); err != nil {
		return nil, fmt.Errorf("reduce-scatter %s: %w", what, err)
	}
	shards := make([]device.Shape, len(whole))
	for i, b := range whole {
		shards[i] = ShardShape(b.Shape(), n.size)
	}
	return n.onBuffers(reduceScatter, what, whole, shards, func(i int, src, dst uintptr) []csrc.NCCLOp {
		s := whole[i].Shape()
		rows, row := s.Dims[0], s.Size()/max(1, s.Dims[0])
		if rows%n.size == 0 {
			return []csrc.NCCLOp{{Kind: csrc.NCCLReduceScatter, DType: s.DType, Src: src, Dst: dst, Count: rows / n.size * row}}
		}
		return n.each(rows, func(root, lo, hi int) csrc.NCCLOp {
			return csrc.NCCLOp{Kind: csrc.NCCLReduce, DType: s.DType, Root: root, Src: src + uintptr(lo*row*s.DType.Size()), Dst: dst, Count: (hi - lo) * row}
		})
	})
}

// each is one collective for every rank that holds rows.
func (n *NCCL) each(rows int, op func(root, lo, hi int) csrc.NCCLOp) (ops []csrc.NCCLOp) {
	for r := range n.size {
		if lo, hi := Part(rows, n.size, r); lo < hi {
			ops = append(ops, op(r, lo, hi))
		}
	}
	return ops
}

// AllReduce implements Comm.
func (n *NCCL) AllReduce(what string, tensors []*device.Buffer) ([]*device.Buffer, error) {
	types, err := dtypesOf(tensors)
	if err != nil {
		return nil, fmt.Errorf("all-reduce %s: %w", what, err)
	}
	shapes := shapesOf(tensors)
	return outcome(n.onBuffers(allReduce, what, tensors, shapes, func(i int, src, dst uintptr) []csrc.NCCLOp {
		return []csrc.NCCLOp{{Kind: csrc.NCCLAllReduce, DType: types[i], Src: src, Dst: dst, Count: shapes[i].Size()}}
	}))
}

// onBuffers prepares one group of collectives from buffers to new ones of the shapes out; ops are those of tensor i.
func (n *NCCL) onBuffers(o op, what string, in []*device.Buffer, out []device.Shape, ops func(i int, src, dst uintptr) []csrc.NCCLOp) (_ Work, err error) {
	if len(in) == 0 {
		return done(nil), nil
	}
	var made []*device.Buffer
	defer func() {
		if err != nil {
			device.FreeAll(made)
			err = fmt.Errorf("%s %s: %s: %w", opNames[o], what, n.name, err)
		}
	}()
	var group []csrc.NCCLOp
	bytes := 0
	for i, shape := range out {
		b, err := in[i].Client().Uninitialized(shape)
		if err != nil {
			return nil, err
		}
		made = append(made, b)
		src, err := in[i].Pointer()
		if err != nil {
			return nil, err
		}
		dst, err := b.Pointer()
		if err != nil {
			return nil, err
		}
		group = append(group, ops(i, src, dst)...)
		bytes += in[i].Shape().Bytes()
	}
	return &queued{n: n, op: o, what: what, bytes: bytes, group: group, in: in, made: made}, nil
}

// prepare makes the stream wait for all buffers, and clears what a reduce-scatter of uneven rows leaves.
func (n *NCCL) prepare(o op, in, out []*device.Buffer) error {
	if err := n.queue.After(append(append([]*device.Buffer{}, in...), out...)...); err != nil || o != reduceScatter {
		return err
	}
	for i, b := range out {
		s := b.Shape()
		lo, hi := Part(in[i].Shape().Dims[0], n.size, n.rank)
		if used := (hi - lo) * (s.Bytes() / max(1, s.Dims[0])); used < s.Bytes() {
			if err := n.queue.Zero(b, used, s.Bytes()-used); err != nil {
				return err
			}
		}
	}
	return nil
}

// queued is a collective for the communicator's stream.
type queued struct {
	n        *NCCL
	op       op
	what     string
	bytes    int
	group    []csrc.NCCLOp
	in, made []*device.Buffer
	mark     *shared // nil until it is started
}

// Start implements Work.
func (q *queued) Start() error {
	m, err := q.n.run(q.op, q.what, q.bytes, q.group, q.n.queue.Handle(), func() error { return q.n.prepare(q.op, q.in, q.made) })
	if err != nil {
		return q.fail(err)
	}
	q.mark = m
	return nil
}

// Wait implements Work.
func (q *queued) Wait() ([]*device.Buffer, error) {
	if q.mark == nil {
		return nil, q.fail(errors.New("it was not started"))
	}
	defer q.mark.drop()
	out, err := q.n.queue.Publish(q.mark.mark, q.made)
	if err != nil {
		return nil, q.fail(err)
	}
	return out, nil
}

// fail gives the results' memory back and says what failed.
func (q *queued) fail(err error) error {
	device.FreeAll(q.made)
	q.made = nil
	return fmt.Errorf("%s %s: %s: %w", opNames[q.op], q.what, q.n.name, err)
}

// run queues a group of collectives on a stream, after whatever prepare queues, and returns a mark behind them, for the
// caller to drop.
func (n *NCCL) run(o op, what string, bytes int, group []csrc.NCCLOp, s csrc.Stream, prepare func() error) (*shared, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return nil, n.fabric.cause()
	}
	n.seq++
	c := call{o, n.seq, time.Now().Add(n.fabric.job.cfg.Timeout)}
	end := n.fabric.job.flight.begin(Event{Op: opNames[o], What: what, Comm: n.name, Seq: n.seq}, bytes)
	m, err := n.enqueue(c, group, s, prepare)
	if err != nil {
		err = n.fabric.fail(fmt.Errorf("number %d: %w", c.seq, err))
		end(err)
		return nil, err
	}
	n.waiting.Lock()
	n.pending = append(n.pending, pending{c, m, end})
	n.waiting.Unlock()
	return m, nil
}

// enqueue does the work of run.
func (n *NCCL) enqueue(c call, group []csrc.NCCLOp, s csrc.Stream, prepare func() error) (*shared, error) {
	if err := prepare(); err != nil {
		return nil, err
	}
	f := n.fabric
	if err := f.lib.Run(f.cuda, n.comm, group, s); err != nil {
		return nil, err
	}
	if err := f.settle(n.comm, c.deadline); err != nil {
		if err == errLate { //nolint:errorlint // settle's own
			err = fmt.Errorf("it has taken longer than it may: %s", f.job.missing(c, n.name, n.ranks))
		}
		return nil, err
	}
	m, err := n.queue.MarkOn(s)
	if err != nil {
		return nil, err
	}
	return share(m), nil
}
