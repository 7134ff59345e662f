package collective

import (
	"fmt"
	"sync/atomic"
	"time"

	"gorun/csrc"
	"gorun/csrc/device"
)

// moves is what a collective does on a stream: copies from other devices, copies within this one, and one group of NCCL's.
type moves struct {
	between, within []csrc.Move
	group           []csrc.NCCLOp
}

func (m *moves) add(n moves) {
	m.between, m.within, m.group = append(m.between, n.between...), append(m.within, n.within...), append(m.group, n.group...)
}

func one(o csrc.NCCLOp) moves { return moves{group: []csrc.NCCLOp{o}} }

// work is a collective on a communicator's stream.
type work struct {
	moves
	n        *NCCL
	op       op
	what     string
	bytes    int
	in, made []*device.Buffer

	forPrograms bool // nobody else reads the results
	after       mark // if so, what used the results' memory before is over here

	begun chan struct{} // closed when it is queued, or has failed
	mark  *shared       // behind it
	err   error
}

// begin queues it.
func (w *work) begin() {
	w.mark, w.err = w.n.run(w.op, w.what, w.bytes, w.moves, w.n.queue.Handle(), w.prepare)
	w.dropAfter()
	close(w.begun)
}

// room makes buffers for the results.
func (w *work) room(out []device.Shape) (err error) {
	if !w.forPrograms {
		w.made, err = w.n.queue.Room(out)
		return err
	}
	made, after, err := w.n.queue.Borrow(out)
	if err == nil {
		w.made, w.after = made, after
	}
	return err
}

func (w *work) dropAfter() {
	if w.after != nil {
		w.after.Free()
		w.after = nil
	}
}

// prepare makes the stream wait for all buffers, and clears what a reduce-scatter of uneven rows leaves.
func (w *work) prepare() error {
	n := w.n
	buffers := w.in
	if w.forPrograms {
		if err := n.queue.Behind(w.after); err != nil {
			return err
		}
	} else {
		buffers = append(w.in[:len(w.in):len(w.in)], w.made[len(w.made)-1])
	}
	if err := n.queue.After(buffers...); err != nil || w.op != reduceScatter {
		return err
	}
	for i, b := range w.made {
		s := b.Shape()
		lo, hi := Part(w.in[i].Shape().Dims[0], n.size, n.rank)
		if used := (hi - lo) * (s.Bytes() / max(1, s.Dims[0])); used < s.Bytes() {
			if err := n.queue.Zero(b, used, s.Bytes()-used); err != nil {
				return err
			}
		}
	}
	return nil
}

// Wait implements Work.
func (w *work) Wait() ([]*device.Buffer, error) {
	<-w.begun
	if w.err != nil {
		return nil, w.fail(w.err)
	}
	defer w.mark.drop()
	if w.forPrograms {
		if err := w.n.queue.Join(w.mark.mark); err != nil {
			return nil, w.fail(err)
		}
		return w.made, nil
	}
	out, err := w.n.queue.Publish(w.mark.mark, w.made)
	if err != nil {
		return nil, w.fail(err)
	}
	return out, nil
}

// fail gives the results' memory back and says what failed.
func (w *work) fail(err error) error {
	device.FreeAll(w.made)
	w.dropAfter()
	return fmt.Errorf("%s %s: %s: %w", opNames[w.op], w.what, w.n.name, err)
}

// pending is a collective that the device may not have done.
type pending struct {
	call
	from mark // where it began
	mark *shared
	end  func(error)
}

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

// run queues a collective on a stream, after whatever prepare queues, and returns a mark behind it, for the caller to
// drop.
func (n *NCCL) run(o op, what string, bytes int, m moves, s csrc.Stream, prepare func() error) (*shared, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended || n.fabric.job.ctx.Err() != nil { // it may be that the watch has not ended it yet
		return nil, n.fabric.cause()
	}
	n.seq++
	p := pending{call: call{o, n.seq, time.Now().Add(n.fabric.job.cfg.Timeout)}}
	p.end = n.fabric.job.flight.begin(Event{Op: opNames[o], What: what, Comm: n.name, Seq: n.seq}, bytes)
	if err := n.enqueue(&p, m, s, prepare); err != nil {
		err = n.fabric.fail(fmt.Errorf("number %d: %w", p.seq, err))
		p.end(err)
		return nil, err
	}
	n.waiting.Lock()
	n.pending = append(n.pending, p)
	n.waiting.Unlock()
	return p.mark, nil
}

// enqueue does the work of run, and leaves p's marks.
func (n *NCCL) enqueue(p *pending, m moves, s csrc.Stream, prepare func() error) (err error) {
	if err := prepare(); err != nil {
		return err
	}
	if p.from, err = n.queue.MarkOn(s); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.from.Free()
		}
	}()
	for _, copies := range [][]csrc.Move{m.between, m.within} {
		if len(copies) == 0 {
			continue
		}
		if err := n.fabric.memory.Copy(copies, s); err != nil {
			return err
		}
	}
	if len(m.group) > 0 {
		if err := n.together(p, m.group, s); err != nil {
			return err
		}
	}
	behind, err := n.queue.MarkOn(s)
	if err == nil {
		p.mark = share(behind)
	}
	return err
}

// together queues a group of NCCL's, which needs all ranks to come.
func (n *NCCL) together(p *pending, group []csrc.NCCLOp, s csrc.Stream) error {
	f := n.fabric
	if err := f.lib.Run(f.cuda, n.comm, group, s); err != nil {
		return err
	}
	err := f.settle(n.comm, p.deadline)
	if err == errLate { //nolint:errorlint // settle's own
		return fmt.Errorf("it has taken longer than it may: %s", f.job.missing(p.call, n.name, n.ranks))
	}
	return err
}
