package collective

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gorun/csrc"
)

// watchEvery is how often a Fabric looks at its communicators: so exact are the ends in the flight record.
const watchEvery = 10 * time.Millisecond

// finalPatience bounds the orderly end of a communicator.
const finalPatience = 10 * time.Second

// watch looks after the communicators until the fabric is closed, and aborts them when the job ends.
func (f *Fabric) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-f.job.ctx.Done():
			f.abort()
			return
		case <-tick.C:
		}
		for _, n := range f.all() {
			if err := n.look(); err != nil {
				_ = f.fail(fmt.Errorf("%s: %w", n.name, err)) // it ends the job, and so comes back here
			}
		}
	}
}

func (f *Fabric) all() []*NCCL {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.comms)
}

// look asks NCCL for errors of the communicator and the device for what it has done.
func (n *NCCL) look() error {
	n.looking.Lock()
	defer n.looking.Unlock()
	if n.mu.TryLock() {
		var err error
		if !n.ended && n.fabric.job.ctx.Err() == nil { // else who queued something may have given it up
			_, err = n.fabric.lib.Settle(n.comm, 0)
		}
		n.mu.Unlock()
		if err != nil {
			return err
		}
	}
	for {
		p, ok := n.oldest()
		if !ok {
			return nil
		}
		passed, err := p.mark.Passed()
		switch {
		case err != nil:
			return fmt.Errorf("%s number %d: %w", opNames[p.op], p.seq, err)
		case !passed && time.Now().After(p.deadline):
			return fmt.Errorf("%s number %d has taken longer than it may: %s", opNames[p.op], p.seq, n.fabric.job.missing(p.call, n.name, n.ranks))
		case !passed:
			return nil
		}
		took, err := p.mark.Since(p.from)
		if err != nil {
			return fmt.Errorf("%s number %d: %w", opNames[p.op], p.seq, err)
		}
		p.end(nil)
		n.forget(took)
	}
}

func (n *NCCL) oldest() (pending, bool) {
	n.waiting.Lock()
	defer n.waiting.Unlock()
	if len(n.pending) == 0 {
		return pending{}, false
	}
	return n.pending[0], true
}

// forget drops the oldest of what is pending, which took so long.
func (n *NCCL) forget(took time.Duration) {
	n.waiting.Lock()
	defer n.waiting.Unlock()
	n.traffic.Moving += took
	if n.programs {
		n.traffic.Exposed += took
	}
	n.pending[0].from.Free()
	n.pending[0].mark.drop()
	n.pending = n.pending[1:]
}

// abort ends all communicators at once: one may be queued on the device behind another.
func (f *Fabric) abort() {
	var ending sync.WaitGroup
	for _, n := range f.all() {
		ending.Go(func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if !n.ended {
				n.ended = true
				_ = f.lib.Abort(n.comm) // the job has failed for a reason that matters more
			}
		})
	}
	ending.Go(func() {
		f.making.Lock()
		defer f.making.Unlock()
		if f.world.Valid() {
			_ = f.lib.Abort(f.world)
			f.world = csrc.NCCLComm{}
		}
	})
	ending.Wait()
}

// Close ends the communicators: in order, once what is queued is done, unless the job has failed. All works must have
// been waited for.
func (f *Fabric) Close() error {
	close(f.stop)
	f.work.Wait()
	errs := []error{f.finish()}
	f.abort() // of what could not be finished
	for _, n := range f.all() {
		for _, ok := n.oldest(); ok; _, ok = n.oldest() {
			n.forget(0)
		}
		for _, r := range n.regions {
			errs = append(errs, r.close())
		}
		errs = append(errs, n.queue.Close())
	}
	return errors.Join(errs...)
}

// finish ends all communicators in order.
func (f *Fabric) finish() error {
	for _, n := range f.all() {
		n.mu.Lock()
		if !n.ended && f.job.ctx.Err() == nil {
			if err := f.end(n.comm); err != nil {
				n.mu.Unlock()
				return fmt.Errorf("end NCCL's %s: %w", n.name, err)
			}
			n.ended = true
		}
		n.mu.Unlock()
	}
	f.making.Lock()
	defer f.making.Unlock()
	if !f.world.Valid() || f.job.ctx.Err() != nil {
		return nil
	}
	if err := f.end(f.world); err != nil {
		return fmt.Errorf("end NCCL: %w", err)
	}
	f.world = csrc.NCCLComm{}
	return nil
}

// end ends one communicator in order.
func (f *Fabric) end(c csrc.NCCLComm) error {
	if err := f.lib.Finalize(c); err != nil {
		return err
	}
	if err := f.settle(c, time.Now().Add(finalPatience)); err != nil {
		return err
	}
	return f.lib.Destroy(c)
}
