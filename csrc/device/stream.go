package device

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
)

// Stream is a queue of a CUDA device beside XLA's own, for a library that reads and writes the memory of buffers. No
// method waits for the device. One goroutine at a time uses it; marks may be made and looked at by others meanwhile.
//
// XLA runs the programs of a client one after the other, and gives the memory of a freed buffer to the next one at once,
// because whatever writes that comes later in its queue. So a library's work is tied to that queue at both ends:
//
//   - After makes the stream wait until buffers may be read; for one from Uninitialized, until what its memory was used
//     for before is over.
//   - Publish makes XLA's queue wait for the stream. It runs a program that takes a token and the buffers and returns the
//     buffers: XLA waits for a token, which is a view, as it does for any argument that another stream makes, and since
//     the buffers are donated the program moves nothing. Later programs are behind it in the queue, and so is any use of
//     memory that is freed after Publish.
type Stream struct {
	client   *Client
	cuda     csrc.CUDA
	handle   csrc.Stream
	external csrc.Stream // of XLA's: what is queued there before a view is made is waited for
	token    *Buffer     // the memory of all tokens
	programs map[string]*Program

	mu   sync.Mutex
	free []csrc.Mark // marks to be used again; protected by mu
}

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
	if s.external, err = c.plugin.ExternalStream(c.device); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	if s.handle, err = s.cuda.NewStream(); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	if s.token, err = FromSlice(c, dtypes.Int32, []int32{0}, 1); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Handle is the stream as CUDA names it, and CUDA the device that it is of.
func (s *Stream) Handle() csrc.Stream { return s.handle }

// CUDA is the device.
func (s *Stream) CUDA() csrc.CUDA { return s.cuda }

// After makes what is queued from now on wait until the buffers may be used.
func (s *Stream) After(buffers ...*Buffer) error {
	for _, b := range buffers {
		if !b.handle.Valid() {
			return fmt.Errorf("device: %s: use of a freed buffer on a stream", b.shape)
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

// Mark is a point in the queue of a stream.
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

// Free gives the mark back.
func (m Mark) Free() {
	m.stream.mu.Lock()
	defer m.stream.mu.Unlock()
	m.stream.free = append(m.stream.free, m.mark)
}

// Publish makes programs and downloads from now on wait for a mark. It consumes buffers that the stream's work writes and
// returns the same memory as buffers whose contents are those at the mark.
func (s *Stream) Publish(m Mark, buffers []*Buffer) ([]*Buffer, error) {
	p, err := s.publisher(buffers)
	if err != nil {
		return nil, err
	}
	if err := s.cuda.Wait(s.external, m.mark); err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	at, err := s.token.Pointer()
	if err != nil {
		return nil, fmt.Errorf("device: token: %w", err)
	}
	token, err := s.client.View(at, s.token.shape, uintptr(s.external))
	if err != nil {
		return nil, err
	}
	defer token.Free()
	return p.Execute(append([]*Buffer{token}, buffers...)...)
}

// publisher is the program that passes buffers of such shapes on.
func (s *Stream) publisher(buffers []*Buffer) (*Program, error) {
	shapes := make([]Shape, len(buffers))
	for i, b := range buffers {
		shapes[i] = b.shape
	}
	src := publishSource(shapes)
	if p := s.programs[string(src.Code)]; p != nil {
		return p, nil
	}
	p, err := s.client.Compile(src)
	if err == nil {
		s.programs[string(src.Code)] = p
	}
	return p, err
}

// publishSource returns its arguments but the first, a token, in their own memory.
func publishSource(shapes []Shape) Source {
	src := Source{Name: "publish", Inputs: []Shape{MakeShape(dtypes.Int32, 1)}, Outputs: slices.Clone(shapes)}
	args, results, types := []string{"%token: tensor<1xi32>"}, []string{}, []string{}
	for i, shape := range shapes {
		args = append(args, fmt.Sprintf("%%x%d: tensor<%s> {tf.aliasing_output = %d : i32}", i, shape, i))
		results = append(results, fmt.Sprintf("%%x%d", i))
		types = append(types, fmt.Sprintf("tensor<%s>", shape))
		src.Inputs, src.Donated = append(src.Inputs, shape), append(src.Donated, i+1)
	}
	list := strings.Join(types, ", ")
	src.Code = fmt.Appendf(nil, "module @publish { func.func public @main(%s) -> (%s) { return %s : %s } }",
		strings.Join(args, ", "), list, strings.Join(results, ", "), list)
	return src
}

// Close ends the stream; its work must be done or no longer matter.
func (s *Stream) Close() error {
	var errs []error
	for _, p := range s.programs {
		errs = append(errs, p.Close())
	}
	for _, m := range s.free {
		errs = append(errs, s.cuda.DestroyMark(m))
	}
	s.token.Free()
	if err := errors.Join(append(errs, s.cuda.DestroyStream(s.handle))...); err != nil {
		return fmt.Errorf("device: close a stream: %w", err)
	}
	return nil
}
