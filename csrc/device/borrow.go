package device

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
)

// Weights that are gathered for one program after another need no new memory each time, nor a program to hand them on:
// nobody but programs reads them. Borrow gives memory that comes back when its buffers are freed, and Join makes XLA's queue
// wait for the stream without running anything in it. Both need to know XLA's queue, which the first program that joins
// tells, and that a program is in that queue when Execute returns: PJRT runs the programs of a client with one device on the
// thread that executes them.

// shelf is memory that has come back. It keeps no more than three times what was borrowed at once: two blocks are whole at a
// time, and a third is on its way.
type shelf struct {
	free map[string][]csrc.Buffer // by shape
	size int                      // bytes of what is free
	most int                      // bytes of the greatest Borrow
}

// Borrow is Room whose memory comes back here when the buffers are freed, to be borrowed again. What the stream queues
// Behind the mark comes after whatever the memory was used for before. The buffers are for programs alone, see Join. The
// caller frees the mark.
func (s *Stream) Borrow(shapes []Shape) (buffers []*Buffer, after Mark, err error) {
	buffers = make([]*Buffer, len(shapes))
	var missing []Shape
	size := 0
	s.mu.Lock()
	for i, shape := range shapes {
		size += shape.Bytes()
		if h, ok := s.shelf.take(shape); ok {
			s.client.liveSize.Add(-int64(shape.Bytes()))
			buffers[i] = s.client.own(h, shape)
		} else {
			missing = append(missing, shape)
		}
	}
	s.shelf.most = max(s.shelf.most, size)
	s.mu.Unlock()
	defer func() {
		if err != nil {
			FreeAll(buffers)
		}
	}()
	if len(missing) > 0 {
		made, err := s.Room(missing)
		if err != nil {
			return nil, Mark{}, err
		}
		for i := range buffers {
			if buffers[i] == nil {
				buffers[i], made = made[0], made[1:]
			}
		}
	}
	for _, b := range buffers {
		b.home = s
	}
	xla, err := s.xlaQueue()
	if err != nil {
		return nil, Mark{}, err
	}
	after, err = s.MarkOn(xla)
	return buffers, after, err
}

// Behind makes what is queued on the stream from now on wait for a mark.
func (s *Stream) Behind(m Mark) error {
	if err := s.cuda.Wait(s.handle, m.mark); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	return nil
}

// Join makes programs from now on wait for a mark. Downloads would not: they look at the buffer, which Publish makes anew.
// So borrowed buffers refuse them.
func (s *Stream) Join(m Mark) error {
	xla, err := s.xlaQueue()
	if err != nil {
		return err
	}
	return s.hold(xla, m.mark)
}

// xlaQueue is the queue that XLA runs programs on.
func (s *Stream) xlaQueue() (csrc.Stream, error) {
	s.mu.Lock()
	known := s.xla
	s.mu.Unlock()
	if known != 0 {
		return known, nil
	}
	room, err := s.Room([]Shape{{DType: dtypes.Float32}})
	if err != nil {
		return 0, err
	}
	defer func() { FreeAll(room) }()
	m, err := s.Mark()
	if err != nil {
		return 0, err
	}
	defer m.Free()
	if room, err = s.Publish(m, room); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.xla, nil
}

// back takes a buffer's memory back. It goes on counting as memory in use.
func (s *Stream) back(b *Buffer) (kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept = s.shelf.put(b.handle, b.shape); kept {
		s.client.liveSize.Add(int64(b.shape.Bytes()))
	}
	return kept
}

func (s *shelf) take(shape Shape) (h csrc.Buffer, ok bool) {
	list := s.free[shape.String()]
	if len(list) == 0 {
		return h, false
	}
	n := len(list) - 1
	s.free[shape.String()], s.size = list[:n], s.size-shape.Bytes()
	return list[n], true
}

func (s *shelf) put(h csrc.Buffer, shape Shape) bool {
	if s.most == 0 || s.size+shape.Bytes() > 3*s.most {
		return false
	}
	if s.free == nil {
		s.free = map[string][]csrc.Buffer{}
	}
	s.free[shape.String()], s.size = append(s.free[shape.String()], h), s.size+shape.Bytes()
	return true
}

// clear takes everything off; the shelf keeps nothing from then on.
func (s *shelf) clear() (all []csrc.Buffer) {
	for _, list := range s.free {
		all = append(all, list...)
	}
	*s = shelf{}
	return all
}
