package data

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// reader takes from a record what a sample needs: records are only valid until the next is visited. What it returns
// tokenises, in any goroutine.
type reader func(origin string, r record) (encode, error)

// encode makes samples; its error says where.
type encode func() ([]Sample, error)

// chunkSize is how many records are tokenised by one goroutine at a time.
const chunkSize = 64

// chunk is a run of records that become samples.
type chunk struct {
	pending []encode // nil where errs says why
	samples [][]Sample
	errs    []error
	done    chan struct{} // closed when all are tokenised
}

func newChunk() *chunk { return &chunk{done: make(chan struct{})} }

func (c *chunk) encode() {
	for i, enc := range c.pending {
		if enc != nil {
			c.samples[i], c.errs[i] = enc()
		}
	}
	c.pending = nil
	close(c.done)
}

// stream visits records, at most limit of them (0 = all), tokenises them on some goroutines meanwhile (0 = one per core)
// and gives them to take, in their order and on one goroutine. Only a few chunks are held at a time, however large the
// files. The error is of a file that cannot be read at all, or take's, or says that ctx has been cancelled.
func stream(ctx context.Context, workers, limit int, read reader, visitAll func(visit) error, take func(*chunk) error) error {
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	s := streaming{queue: make(chan *chunk, 2*workers), stop: make(chan struct{}), current: newChunk()}
	s.workers.SetLimit(workers) // Go waits for a free one: reading goes no faster than tokenising
	taken := make(chan error, 1)
	go func() { taken <- s.drain(take) }()
	n := 0
	err := visitAll(func(origin string, r record, err error) error {
		var enc encode
		if err == nil {
			enc, err = read(origin, r)
		}
		if err != nil {
			enc, err = nil, fmt.Errorf("%s: %w", origin, err)
		}
		s.put(enc, err)
		n++
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case <-s.stop:
			return errEnough
		default:
		}
		if n == limit {
			return errEnough
		}
		return nil
	})
	s.flush()
	close(s.queue)
	_ = s.workers.Wait() // no goroutine returns an error: each record has its own
	failed := <-taken
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return failed
}

// streaming is a stream at work.
type streaming struct {
	workers errgroup.Group
	queue   chan *chunk   // in order; some are not done yet
	stop    chan struct{} // closed when nothing more is taken
	current *chunk        // being filled
}

// put adds a record to the current chunk.
func (s *streaming) put(enc encode, err error) {
	c := s.current
	c.pending, c.samples, c.errs = append(c.pending, enc), append(c.samples, nil), append(c.errs, err)
	if len(c.pending) == chunkSize {
		s.flush()
	}
}

// flush hands the current chunk on.
func (s *streaming) flush() {
	full := s.current
	s.current = newChunk()
	s.workers.Go(func() error {
		full.encode()
		return nil
	})
	s.queue <- full
}

// drain gives the chunks to take until it fails, and waits for the others.
func (s *streaming) drain(take func(*chunk) error) (err error) {
	for c := range s.queue {
		<-c.done
		if err != nil {
			continue
		}
		if err = take(c); err != nil {
			close(s.stop)
		}
	}
	return err
}
