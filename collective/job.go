package collective

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// JobConfig is this rank's place in a run.
type JobConfig struct {
	Rank, World int
	Addr        string // host:port of rank 0, which listens there
	Key         []byte // the same on every rank
	Generation  int    // ranks of another generation are refused

	StartTimeout time.Duration // for all ranks to arrive
	Timeout      time.Duration // for one collective or exchange
	Observe      func(Event)   // told of every collective, from any goroutine; may be nil
}

// validate reports all faults at once.
func (c JobConfig) validate() error {
	var faults []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	bad(c.World < 2, "WORLD_SIZE %d: one rank needs no job", c.World)
	bad(c.Rank < 0 || c.Rank >= c.World, "RANK %d: want 0 to %d", c.Rank, c.World-1)
	bad(c.Generation < 0, "GORUN_GENERATION %d: want 0 or more", c.Generation)
	bad(len(c.Key) < 16, "GORUN_JOB_KEY of %d bytes: want at least 16, the same on every rank", len(c.Key))
	bad(c.StartTimeout <= 0 || c.Timeout <= 0, "timeouts %s and %s: want more than nothing", c.StartTimeout, c.Timeout)
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		bad(true, "MASTER_ADDR and MASTER_PORT: %w", err)
	}
	return errors.Join(faults...)
}

// Job is the processes of a run, as one of them sees it.
//
// Rank 0 listens at Addr, and every other rank keeps a connection to it for the length of the job. Small values go over
// this star (Exchange), and so does the news of a failure: whoever notices one tells rank 0, which tells all, so every
// rank ends with the same cause. Bulk data does not pass through rank 0: a communicator's ranks connect to each other
// when they first have something to send, over the listener that each rank has.
//
// Exchange and the methods of communicators are called in the same order on all ranks.
type Job struct {
	cfg      JobConfig
	listener net.Listener
	flight   *flight
	addrs    []string // of every rank's listener

	mu    sync.Mutex
	peers []*peer                  // by rank: rank 0 has all others, the others have rank 0
	conns map[net.Conn]bool        // the connections of communicators
	inbox map[string]chan net.Conn // connections that came in, by sender and communicator
	cause error
	seq   uint64 // of Exchange; one goroutine exchanges

	joined chan struct{}      // rank 0: closed when every rank is there
	ctx    context.Context    // ends when cause is set
	stop   context.CancelFunc // ends ctx
	work   sync.WaitGroup     // the goroutines of the job
}

// Join waits until all ranks of the run are there. Cancelling ctx, then or later, ends the job with its cause; Close
// the job in any case.
func Join(ctx context.Context, c JobConfig) (*Job, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("join the job: %w", err)
	}
	j := &Job{
		cfg: c, flight: newFlight(c.Observe), peers: make([]*peer, c.World), conns: map[net.Conn]bool{}, inbox: map[string]chan net.Conn{},
		joined: make(chan struct{}),
	}
	j.ctx, j.stop = context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, func() { j.Fail(context.Cause(ctx)) })
	context.AfterFunc(j.ctx, func() { release() })
	start := j.follow
	if c.Rank == 0 {
		start = j.lead
	}
	err := start()
	if err == nil {
		err = j.meet()
	}
	if err != nil {
		err = j.fail(err)
		_ = j.Close() // it has failed already
		return nil, fmt.Errorf("rank %d: join the job of %d ranks at %s: %w", c.Rank, c.World, c.Addr, err)
	}
	return j, nil
}

// meet tells every rank where the others listen.
func (j *Job) meet() error {
	addrs, err := j.ExchangeWithin("start", []byte(j.listener.Addr().String()), j.cfg.StartTimeout)
	if err != nil {
		return err
	}
	for r, a := range addrs {
		if _, _, err := net.SplitHostPort(string(a)); err != nil {
			return fmt.Errorf("rank %d listens at %q: %w", r, a, err)
		}
		j.addrs = append(j.addrs, string(a))
	}
	return nil
}

// lead opens rank 0's listener and waits for the others.
func (j *Job) lead() (err error) {
	if j.listener, err = net.Listen("tcp", j.cfg.Addr); err != nil {
		return fmt.Errorf("%w: give MASTER_PORT a free port, and MASTER_ADDR an address of rank 0's machine", err)
	}
	j.work.Go(j.accept)
	late := time.NewTimer(j.cfg.StartTimeout)
	defer late.Stop()
	select {
	case <-j.joined:
		return nil
	case <-j.ctx.Done():
		return j.Err()
	case <-late.C:
		return fmt.Errorf("ranks %v have not come within %s", j.absent(), j.cfg.StartTimeout)
	}
}

func (j *Job) absent() (out []int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for r := 1; r < j.cfg.World; r++ {
		if j.peers[r] == nil {
			out = append(out, r)
		}
	}
	return out
}

// follow connects to rank 0, which may not be there yet, and listens at the address by which rank 0 sees this machine.
func (j *Job) follow() error {
	deadline := time.Now().Add(j.cfg.StartTimeout)
	var conn net.Conn
	var last error
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		var err error
		if conn, err = j.join(deadline); err == nil {
			break
		}
		if last == nil || !isLate(err) { // why, rather than that time is over
			last = err
		}
		var refused refusal
		if errors.Is(err, errKey) || errors.As(err, &refused) || time.Until(deadline) < pause {
			return fmt.Errorf("rank 0: %w", last)
		}
		select {
		case <-time.After(pause):
		case <-j.ctx.Done():
			return j.Err()
		}
	}
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err == nil {
		j.listener, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	j.work.Go(j.accept)
	j.addPeer(0, conn)
	return nil
}

// addPeer starts to read from a peer; false if there is one already.
func (j *Job) addPeer(rank int, conn net.Conn) bool {
	p := newPeer(conn)
	j.mu.Lock()
	if j.peers[rank] != nil {
		j.mu.Unlock()
		return false
	}
	j.peers[rank] = p
	all := j.cfg.Rank == 0 && !slices.Contains(j.peers[1:], nil)
	j.mu.Unlock()
	j.work.Go(func() { j.listen(rank, p) })
	if all {
		close(j.joined)
	}
	return true
}

// listen takes what a peer sends until it leaves, is gone, or the job fails.
func (j *Job) listen(rank int, p *peer) {
	defer close(p.ended)
	for {
		f, err := readFrame(p)
		switch {
		case err != nil:
			j.fail(fmt.Errorf("rank %d is gone: its connection ended (%w)", rank, err))
			return
		case f.kind == frameBye:
			return
		case f.kind == frameFailed:
			j.fail(told(f.body))
			return
		}
		select {
		case p.frames <- f:
		case <-j.ctx.Done():
		}
	}
}

// told is another rank's account of why the job failed.
type told string

func (t told) Error() string { return string(t) }

// fail makes err the job's failure, unless it has failed already, tells the other ranks, and returns the job's failure.
func (j *Job) fail(err error) error {
	if peers, first := j.end(err); first {
		text := err.Error()
		for _, p := range peers {
			if p != nil {
				_ = p.send(frame{kind: frameFailed, body: []byte(text[:min(len(text), 4096)])}) // who cannot hear it notices itself
			}
		}
	}
	return j.Err()
}

// end ends all communication but that with peers, unless it has ended already.
func (j *Job) end(cause error) (peers []*peer, first bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cause != nil {
		return nil, false
	}
	j.cause = cause
	j.stop()
	for c := range j.conns {
		_ = c.Close() // it is given up
	}
	j.conns = nil
	return slices.Clone(j.peers), true
}

// Fail ends the job on every rank, with this rank's reason.
func (j *Job) Fail(err error) { j.fail(fmt.Errorf("rank %d: %w", j.cfg.Rank, err)) }

// Err is why the job failed; nil while it has not.
func (j *Job) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cause
}

// FlightRecord is the last collectives of this rank as text, oldest first.
func (j *Job) FlightRecord() string { return j.flight.String() }

// errClosed is why a job ends that has not failed.
var errClosed = errors.New("the job is closed")

// Close leaves the job. Unless it has failed, that waits for all ranks to close.
func (j *Job) Close() error {
	var err error
	if j.Err() == nil {
		_, err = j.Exchange("end", nil)
	}
	if err == nil && j.Err() == nil {
		var leaving sync.WaitGroup
		for _, p := range j.peers {
			if p != nil {
				leaving.Go(func() { _ = p.leave() }) // all work is done: a lost goodbye harms nobody
			}
		}
		leaving.Wait()
	}
	j.end(errClosed)
	if j.listener != nil {
		err = errors.Join(err, j.listener.Close())
	}
	j.mu.Lock()
	peers := slices.Clone(j.peers)
	j.mu.Unlock()
	for _, p := range peers {
		if p != nil {
			_ = p.Close() // nothing more is wanted of it
		}
	}
	j.work.Wait()
	return err
}
