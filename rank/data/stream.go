package data

import (
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
	pending []encode // nil where errs says why, and once tokenised
	samples [][]Sample
	errs    []error
}

func (c *chunk) encode() {
	for i, enc := range c.pending {
		if enc != nil {
			c.samples[i], c.errs[i] = enc()
		}
	}
	c.pending = nil
}

// stream visits records, at most limit of them (0 = all), and tokenises them on some goroutines meanwhile (0 = one per
// core). The text of a few chunks is held at a time, so what a data set takes is what its tokens take, however large its
// files. The chunks are in the order of the records; the error is of a file that cannot be read at all.
func stream(workers, limit int, read reader, visitAll func(visit) error) ([]*chunk, error) {
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var g errgroup.Group
	g.SetLimit(workers) // Go waits for a free one: reading goes no faster than tokenising
	var chunks []*chunk
	current, taken := &chunk{}, 0
	flush := func() {
		full := current
		chunks, current = append(chunks, full), &chunk{}
		g.Go(func() error {
			full.encode()
			return nil
		})
	}
	err := visitAll(func(origin string, r record, err error) error {
		var enc encode
		if err == nil {
			enc, err = read(origin, r)
		}
		if err != nil {
			enc, err = nil, fmt.Errorf("%s: %w", origin, err)
		}
		current.pending, current.samples, current.errs = append(current.pending, enc), append(current.samples, nil), append(current.errs, err)
		if len(current.pending) == chunkSize {
			flush()
		}
		if taken++; taken == limit {
			return errEnough
		}
		return nil
	})
	flush()
	_ = g.Wait() // no goroutine returns an error: each record has its own
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return chunks, nil
}
