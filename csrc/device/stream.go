package device

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gorun/csrc"
)

// Stream is a queue of a CUDA device beside XLA's own, for a library that reads and writes the memory of buffers. No
// method waits for the device. Room, Borrow, Publish and Join are called by one goroutine, After, Behind and Zero by one,
// which may be another; marks may be made and looked at by any.
//
// XLA runs the programs of a client one after the other, and gives the memory of a freed buffer to the next one at once,
// because whatever writes that comes later in its queue. So a library's work is tied to that queue at both ends:
//
//   - After makes the stream wait until buffers may be read; for one from Room, until what its memory was used for before
//     is over.
//   - Publish makes XLA's queue wait for the stream. It runs a program that takes the buffers and returns them: a custom
//     call in it makes XLA's stream wait, and since the buffers are donated the program moves nothing. Later programs are
//     behind it in the queue, and so is any use of memory that is freed after Publish.
//
// What programs alone read can do with less: see Borrow and Join.
//
// All of a call's buffers go through one program, because PJRT queues a host callback for everything that makes buffers,
// and the driver holds the thread that queues one more than a few dozen: the host then waits for the device.
type Stream struct {
	client   *Client
	cuda     csrc.CUDA
	handle   csrc.Stream
	number   int32 // of this stream, in programs that join
	programs map[string]*Program

	mu      sync.Mutex
	free    []csrc.Mark // to be used again; protected by mu
	joining *csrc.Mark  // what the next join waits for; protected by mu
	joined  []joined    // where XLA's queue waits, in order; protected by mu
	xla     csrc.Stream // XLA's queue, once a program has joined; protected by mu
	shelf   shelf       // protected by mu
}

// joined is where XLA's queue waits for a stream: from one mark in that queue to the other.
type joined struct{ from, to csrc.Mark }

// NewStream makes a stream. It is an error on devices that are not CUDA's.
func (c *Client) NewStream() (*Stream, error) {
	if c.platform != "cuda" {
		return nil, fmt.Errorf("device: %s has no streams for other libraries", c.platform)
	}
	s := &Stream{client: c, programs: map[string]*Program{}}
	var err error
	if s.cuda, err = csrc.OpenCUDA(c.ordinal); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	if err := c.plugin.RegisterStreams(c.platform); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	if s.handle, err = s.cuda.NewStream(); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	s.number = csrc.RegisterJoiner(s.join)
	return s, nil
}

// Handle is the stream as CUDA names it, and CUDA the device that it is of.
func (s *Stream) Handle() csrc.Stream { return s.handle }

// CUDA is the device.
func (s *Stream) CUDA() csrc.CUDA { return s.cuda }

// Room makes buffers with undefined contents, for the stream's work to write. They belong together: what is queued After
// the last of them comes after whatever their memory was used for before.
func (s *Stream) Room(shapes []Shape) ([]*Buffer, error) {
	p, err := s.program(roomSource(shapes))
	if err != nil {
		return nil, err
	}
	return p.Execute()
}

// After makes what is queued from now on wait until the buffers may be used.
func (s *Stream) After(buffers ...*Buffer) error {
	for _, b := range buffers {
		if err := b.alive("use on a stream of"); err != nil {
			return err
		}
		if b.lent != 0 { // its contents have been there since it was made
			continue
		}
		if err := s.client.plugin.WaitBuffer(s.handle, b.handle); err != nil {
			return fmt.Errorf("device: %s: %w", b.shape, err)
		}
	}
	return nil
}

// Zero queues the clearing of n bytes of a buffer.
func (s *Stream) Zero(b *Buffer, offset, n int) error {
	at, err := b.Pointer()
	if err != nil {
		return err
	}
	if err := s.cuda.Zero(at+uintptr(offset), n, s.handle); err != nil {
		return fmt.Errorf("device: %s: %w", b.shape, err)
	}
	return nil
}

// Publish makes programs and downloads from now on wait for a mark. It consumes buffers that the stream's work writes and
// returns the same memory as buffers whose contents are those at the mark.
func (s *Stream) Publish(m Mark, buffers []*Buffer) ([]*Buffer, error) {
	p, err := s.program(publishSource(s.number, shapesOf(buffers)))
	if err != nil {
		return nil, err
	}
	s.arm(&m.mark)
	out, err := p.Execute(buffers...)
	if missed := s.arm(nil); missed != nil && err == nil { // the mark may be used anew as soon as we return
		FreeAll(out)
		return nil, errors.New("device: XLA has not queued the program publish at once: is it told to dispatch from another thread?")
	}
	return out, err
}

// arm says what the next join waits for, and returns what was said before if no join has come.
func (s *Stream) arm(m *csrc.Mark) (missed *csrc.Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	missed, s.joining = s.joining, m
	return missed
}

// join makes XLA's stream wait for what is being published.
func (s *Stream) join(xla csrc.Stream) error {
	m := s.arm(nil)
	if m == nil {
		return errors.New("device: a program joins a stream that publishes nothing")
	}
	s.mu.Lock()
	s.xla = xla
	s.mu.Unlock()
	return s.hold(xla, *m)
}

// hold makes XLA's queue wait for a mark, and marks where it does.
func (s *Stream) hold(xla csrc.Stream, m csrc.Mark) error {
	from, err := s.MarkOn(xla)
	if err != nil {
		return err
	}
	if err := s.cuda.Wait(xla, m); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	to, err := s.MarkOn(xla)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.joined = append(s.joined, joined{from.mark, to.mark})
	s.mu.Unlock()
	return nil
}

// Waited is for how long XLA's queue has waited for the stream since Waited was called before, as far as the device has
// come.
func (s *Stream) Waited() (sum time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.joined) > 0 {
		j := s.joined[0]
		if passed, err := s.cuda.Passed(j.to); err != nil || !passed {
			return sum, err
		}
		took, err := s.cuda.Between(j.from, j.to)
		if err != nil {
			return sum, err
		}
		sum += took
		s.joined = s.joined[1:]
		s.free = append(s.free, j.from, j.to)
	}
	return sum, nil
}

// program compiles a source once.
func (s *Stream) program(src Source) (*Program, error) {
	if p := s.programs[string(src.Code)]; p != nil {
		return p, nil
	}
	p, err := s.client.Compile(src)
	if err == nil {
		s.programs[string(src.Code)] = p
	}
	return p, err
}

// Close ends the stream; its work must be done or no longer matter.
func (s *Stream) Close() error {
	csrc.UnregisterJoiner(s.number)
	var errs []error
	for _, p := range s.programs {
		errs = append(errs, p.Close())
	}
	s.client.liveSize.Add(-int64(s.shelf.size))
	for _, h := range s.shelf.clear() {
		errs = append(errs, s.client.plugin.DestroyBuffer(h))
	}
	marks := slices.Clone(s.free)
	for _, j := range s.joined {
		marks = append(marks, j.from, j.to)
	}
	for _, m := range marks {
		errs = append(errs, s.cuda.DestroyMark(m))
	}
	if err := errors.Join(append(errs, s.cuda.DestroyStream(s.handle))...); err != nil {
		return fmt.Errorf("device: close a stream: %w", err)
	}
	return nil
}
