package device

import (
	"fmt"
	"time"

	"gorun/csrc"
)

// Mark is a point in a queue of the device.
type Mark struct {
	stream *Stream
	mark   csrc.Mark
}

// Mark marks the end of what is queued.
func (s *Stream) Mark() (Mark, error) { return s.MarkOn(s.handle) }

// MarkOn marks the end of what is queued on another stream of the same device.
func (s *Stream) MarkOn(other csrc.Stream) (Mark, error) {
	handle, err := s.mark()
	if err != nil {
		return Mark{}, fmt.Errorf("device: %w", err)
	}
	m := Mark{s, handle}
	if err := s.cuda.Record(handle, other); err != nil {
		m.Free()
		return Mark{}, fmt.Errorf("device: %w", err)
	}
	return m, nil
}

// mark is a mark that nobody uses.
func (s *Stream) mark() (csrc.Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.free)
	if n == 0 {
		return s.cuda.NewMark()
	}
	m := s.free[n-1]
	s.free = s.free[:n-1]
	return m, nil
}

// Passed tells whether the device has come to the mark.
func (m Mark) Passed() (bool, error) { return m.stream.cuda.Passed(m.mark) }

// Since is the time on the device from an earlier mark to this one, which it has passed.
func (m Mark) Since(earlier Mark) (time.Duration, error) {
	took, err := m.stream.cuda.Between(earlier.mark, m.mark)
	if err != nil {
		return 0, fmt.Errorf("device: %w", err)
	}
	return took, nil
}

// Free gives the mark back.
func (m Mark) Free() {
	m.stream.mu.Lock()
	defer m.stream.mu.Unlock()
	m.stream.free = append(m.stream.free, m.mark)
}
