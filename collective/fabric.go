package collective

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"gorun/csrc"
	"gorun/csrc/device"
)

// Fabric is NCCL as a job uses it: one communicator of all ranks, from which those of the axes are split, and the watch
// over them. The job's own connections carry NCCL's id to the ranks, so only those that hold the job's key come in.
//
// When the job ends, for whatever reason and on whatever rank, all communicators are aborted: collectives that are queued
// end, on the device too, with contents that mean nothing, and every later call returns the job's cause. NCCL itself
// tells nobody of a lost rank; the job does.
type Fabric struct {
	job    *Job
	lib    *csrc.NCCL
	cuda   csrc.CUDA
	memory memory                // of the device
	open   func() (queue, error) // makes a stream
	stop   chan struct{}         // ends the watch and the carrier
	work   sync.WaitGroup        // the watch and the carrier

	unfixed string // why shards that never change are gathered by NCCL; "" = they need not be; for who calls Fix

	given   chan *work // for the carrier, in order
	orderly bool       // programs have collectives of their own: a work is queued when it has been given

	making sync.Mutex    // held while the world is split
	world  csrc.NCCLComm // protected by making; not valid when it is gone

	mu    sync.Mutex
	comms []*NCCL // protected by mu
}

// NewFabric joins this rank's device to those of all ranks of the job. Every rank calls it, and then Comm for the same
// communicators in the same order.
func (j *Job) NewFabric(lib *csrc.NCCL, dev *device.Client) (*Fabric, error) {
	first, err := dev.NewStream() // it knows the device
	if err != nil {
		return nil, err
	}
	cuda := first.CUDA()
	if err := first.Close(); err != nil {
		return nil, err
	}
	return j.newFabric(lib, cuda, cuda, func() (queue, error) {
		s, err := dev.NewStream()
		return stream{s}, err
	})
}

// stream is a device.Stream as a queue, and point its marks.
type (
	stream struct{ *device.Stream }
	point  struct{ device.Mark }
)

func (s stream) MarkOn(other csrc.Stream) (mark, error) {
	m, err := s.Stream.MarkOn(other)
	return point{m}, err
}

func (s stream) Publish(m mark, buffers []*device.Buffer) ([]*device.Buffer, error) {
	return s.Stream.Publish(m.(point).Mark, buffers)
}

func (s stream) Borrow(shapes []device.Shape) ([]*device.Buffer, mark, error) {
	buffers, m, err := s.Stream.Borrow(shapes)
	return buffers, point{m}, err
}

func (s stream) Behind(m mark) error { return s.Stream.Behind(m.(point).Mark) }

func (s stream) Join(m mark) error { return s.Stream.Join(m.(point).Mark) }

func (p point) Since(earlier mark) (time.Duration, error) { return p.Mark.Since(earlier.(point).Mark) }

func (j *Job) newFabric(lib *csrc.NCCL, cuda csrc.CUDA, mem memory, open func() (queue, error)) (*Fabric, error) {
	f := &Fabric{job: j, lib: lib, cuda: cuda, memory: mem, open: open, stop: make(chan struct{}), given: make(chan *work, 16)}
	if err := f.join(); err != nil {
		return nil, fmt.Errorf("join NCCL %s: %w", version(lib.Version()), f.fail(err))
	}
	f.work.Go(f.watch)
	f.work.Go(f.carry)
	return f, nil
}

// carry queues what the step's goroutine gives. NCCL takes up to a millisecond of a thread for a group, and the step's
// goroutine has programs to queue meanwhile. There is one carrier for all communicators: their order on the device is the
// same on every rank.
func (f *Fabric) carry() {
	for {
		select {
		case w := <-f.given:
			w.begin()
		case <-f.stop:
			return
		}
	}
}

// give has the carrier queue a work. Programs with collectives queue them from the step's goroutine, so there the order of
// those and of ours is that of the step: it waits for the carrier.
func (f *Fabric) give(w *work) {
	f.given <- w
	if f.orderly {
		<-w.begun
	}
}

// version is NCCL's version number as people write it.
func version(n int) string { return fmt.Sprintf("%d.%d.%d", n/10000, n/100%100, n%100) }

// join makes the communicator of all ranks.
func (f *Fabric) join() error {
	j := f.job
	var mine []byte
	if j.cfg.Rank == 0 {
		id, err := f.lib.NewUniqueID()
		if err != nil {
			return err
		}
		mine = id[:]
	}
	all, err := j.ExchangeWithin("NCCL's id", mine, j.cfg.StartTimeout)
	if err != nil {
		return err
	}
	var id csrc.UniqueID
	if len(all[0]) != len(id) {
		return fmt.Errorf("rank 0 gives an id of %d bytes, want %d: every rank must run the same version of gorun", len(all[0]), len(id))
	}
	copy(id[:], all[0])
	if f.world, err = f.lib.Init(f.cuda, j.cfg.World, j.cfg.Rank, id); err != nil {
		return err
	}
	if err := f.settle(f.world, time.Now().Add(j.cfg.StartTimeout)); err != nil {
		err = errors.Join(err, f.lib.Abort(f.world))
		f.world = csrc.NCCLComm{}
		return err
	}
	return nil
}

// settleMicroseconds is how long NCCL is looked at before the job is.
const settleMicroseconds = 500

// settle waits until a communicator has done what was begun, until the job ends, or until it is late (errLate).
func (f *Fabric) settle(comm csrc.NCCLComm, deadline time.Time) error {
	for {
		settled, err := f.lib.Settle(comm, settleMicroseconds)
		switch {
		case err != nil || settled:
			return err
		case f.job.ctx.Err() != nil:
			return f.cause()
		case time.Now().After(deadline):
			return errLate
		}
	}
}

// cause is why the job ended.
func (f *Fabric) cause() error { return f.job.Err() }

// tellPatience is how long a rank waits to be told of a failure before it tells one of its own: NCCL may notice a lost peer
// sooner than the job's connections do.
const tellPatience = time.Second

// fail ends the job with an error of NCCL's or the device's, unless another rank's failure, which is its cause, is known
// or comes to be known soon.
func (f *Fabric) fail(err error) error {
	var native *csrc.Error
	if errors.As(err, &native) {
		select {
		case <-f.job.ctx.Done():
		case <-time.After(tellPatience):
		}
	}
	return f.job.fail(fmt.Errorf("rank %d: %w", f.job.cfg.Rank, err))
}

// CommOfPrograms makes a communicator for the collectives of programs, as Comm does for those of the step.
func (f *Fabric) CommOfPrograms(name string, ranks []int) (Comm, error) {
	f.orderly = true
	return f.comm(name, ranks, true)
}

// Comm makes the communicator of the given ranks, this one among them, in the order given. The ranks of a mesh call it
// together, each for its own ranks along the same axes; name is the same on all. One rank alone is a Solo.
func (f *Fabric) Comm(name string, ranks []int) (Comm, error) { return f.comm(name, ranks, false) }

func (f *Fabric) comm(name string, ranks []int, programs bool) (Comm, error) {
	if len(ranks) == 1 {
		return Solo{}, nil
	}
	n := &NCCL{name: name, programs: programs, size: len(ranks), ranks: ranks, fabric: f, places: map[*device.Buffer]place{}}
	color := ranks[0]
	for i, r := range ranks {
		color = min(color, r)
		if r == f.job.cfg.Rank {
			n.rank = i
		}
	}
	if err := f.split(n, color); err != nil {
		return nil, fmt.Errorf("split NCCL's ranks for %s: %w", name, f.fail(err))
	}
	f.mu.Lock()
	f.comms = append(f.comms, n)
	f.mu.Unlock()
	return n, nil
}

// split makes n's communicator and its stream.
func (f *Fabric) split(n *NCCL, color int) (err error) {
	f.making.Lock()
	defer f.making.Unlock()
	if !f.world.Valid() {
		return f.cause()
	}
	late := time.Now().Add(f.job.cfg.StartTimeout)
	s, err := f.lib.Split(f.cuda, f.world, color, n.rank)
	if err != nil {
		return err
	}
	if err := f.settle(f.world, late); err != nil {
		return err
	}
	if n.comm = s.Comm(); !n.comm.Valid() {
		return errors.New("NCCL made no communicator")
	}
	if err := f.settle(n.comm, late); err != nil {
		return errors.Join(err, f.lib.Abort(n.comm))
	}
	if n.queue, err = f.open(); err != nil {
		return errors.Join(err, f.lib.Abort(n.comm))
	}
	return nil
}
