package devicetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"

	"gorun/csrc/device"
)

// Parts opens n clients of the tests' CPU, each a device of its own, which compile quickly rather than well: each has its
// own programs. They are closed, and held to giving their buffers back, when the test ends.
func Parts(t testing.TB, n int) []*device.Client {
	t.Helper()
	CPUOnly(t)
	out := make([]*device.Client, n)
	for i := range out {
		c, err := device.Open(device.Config{Plugin: Plugin(t), CacheDir: executables, Flags: hastily})
		if err != nil {
			t.Fatal(err)
		}
		out[i] = c
		t.Cleanup(func() {
			if live := c.LiveBuffers(); live != 0 && !t.Failed() {
				t.Errorf("the test leaks %d device buffers of part %d", live, i)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return out
}

// Table is a communicator among goroutines of one process: all of them lay their memory on a table, and each takes from
// it what it is due. Sums are in the order of seats.
type Table struct {
	n    int
	mu   sync.Mutex
	come *sync.Cond
	lie  [][]byte // what is on the table, by seat
	late bool     // members still take from the table
	left int      // members that have not taken yet
	what string
	err  error
}

// NewTable seats n members.
func NewTable(n int) *Table {
	t := &Table{n: n, lie: make([][]byte, n)}
	t.come = sync.NewCond(&t.mu)
	return t
}

// Cancel ends all calls, now and later, with err.
func (t *Table) Cancel(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
	t.come.Broadcast()
}

// Seat is member i's end.
func (t *Table) Seat(i int) *Seat { return &Seat{t, i} }

// Seat is one member of a Table.
type Seat struct {
	t *Table
	i int
}

// patience is for members that compile their programs first, on a busy machine.
const patience = 5 * time.Minute

// meet lays src down, waits for all and calls take with everybody's.
func (s *Seat) meet(what string, src []byte, take func(all [][]byte)) error {
	t := s.t
	timer := time.AfterFunc(patience, func() { t.Cancel(errors.New("somebody has not come")) })
	defer timer.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 {
		t.what = what
	}
	if t.err == nil && (t.what != what || t.lie[s.i] != nil) {
		t.err = fmt.Errorf("part %d is in %s, others in %s", s.i, what, t.what)
	}
	t.lie[s.i] = src
	if t.left++; t.left == t.n {
		t.late = true
	}
	t.come.Broadcast()
	for t.err == nil && !t.late {
		t.come.Wait()
	}
	if t.err != nil {
		t.come.Broadcast()
		return fmt.Errorf("%s: %w", what, t.err)
	}
	take(t.lie)
	if t.left--; t.left == 0 {
		t.late, t.lie = false, make([][]byte, t.n)
	}
	t.come.Broadcast()
	for t.err == nil && t.late { // src is read until all have taken; so nobody comes back earlier, either
		t.come.Wait()
	}
	return nil
}

// AllReduceMemory implements csrc.Communicator.
func (s *Seat) AllReduceMemory(what string, dst, src []byte, t dtypes.DType) error {
	return s.meet("all-reduce "+what, src, func(all [][]byte) { sum(dst, all, 0, t) })
}

// AllGatherMemory implements csrc.Communicator.
func (s *Seat) AllGatherMemory(what string, dst, src []byte) error {
	return s.meet("all-gather "+what, src, func(all [][]byte) {
		for i, b := range all {
			copy(dst[i*len(b):], b)
		}
	})
}

// ReduceScatterMemory implements csrc.Communicator.
func (s *Seat) ReduceScatterMemory(what string, dst, src []byte, t dtypes.DType) error {
	return s.meet("reduce-scatter "+what, src, func(all [][]byte) { sum(dst, all, s.i*len(dst), t) })
}

// sum adds what all hold from an offset.
func sum(dst []byte, all [][]byte, from int, t dtypes.DType) {
	le := binary.LittleEndian
	for i := 0; i < len(dst); i += t.Size() {
		v := float32(0)
		for _, b := range all {
			if t == dtypes.BFloat16 {
				v += math.Float32frombits(uint32(le.Uint16(b[from+i:])) << 16)
			} else {
				v += math.Float32frombits(le.Uint32(b[from+i:]))
			}
		}
		if t == dtypes.BFloat16 {
			le.PutUint16(dst[i:], bfloat16.FromFloat32(v).Bits())
		} else {
			le.PutUint32(dst[i:], math.Float32bits(v))
		}
	}
}
