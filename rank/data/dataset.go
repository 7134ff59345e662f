package data

import (
	"errors"
	"fmt"
	"strings"

	"gorun/configs"
)

// Dataset is a tokenised set of samples.
type Dataset struct {
	Samples   []Sample
	Skipped   int      // samples left out, as the recipe allows
	Truncated int      // samples cut to the sequence length
	Reasons   []string // of the first samples left out
	Cached    bool     // it comes from the cache
}

// Stats sums a data set up.
type Stats struct {
	Samples, Tokens, Trained, Longest int
}

// Stats counts samples and tokens.
func (d *Dataset) Stats() Stats {
	s := Stats{Samples: len(d.Samples), Longest: d.longest()}
	for _, x := range d.Samples {
		s.Tokens += len(x.IDs)
		s.Trained += x.Valid()
	}
	return s
}

// Mean is the mean length of a sample in tokens.
func (s Stats) Mean() float64 { return float64(s.Tokens) / float64(max(1, s.Samples)) }

// longest is the length of the longest sample.
func (d *Dataset) longest() int {
	n := 0
	for _, s := range d.Samples {
		n = max(n, len(s.IDs))
	}
	return n
}

// Build reads and tokenises the data set of a recipe. longest is the model's own limit in tokens and vocab its size;
// the samples are in the order of the data whatever the number of goroutines.
func Build(c configs.Dataset, tok Tokenizer, longest, vocab int) (*Dataset, error) {
	if c.SeqLength > 0 {
		longest = c.SeqLength
	}
	if longest < 1 {
		return nil, errors.New("dataset.seq_length: neither the recipe nor the model says how long a sample may be: set it")
	}
	if c.Kind == "mock" {
		if c.VocabSize > 0 {
			vocab = c.VocabSize
		}
		return mock(c.NumSamples, c.MinLength, longest, vocab)
	}
	read, err := newReader(c, tok, longest)
	if err != nil {
		return nil, err
	}
	visitAll := visitFiles
	switch c.Kind {
	case "squad":
		visitAll = visitSQuAD
	case "text":
		visitAll = visitTexts
	}
	chunks, err := stream(c.NumWorkers, c.LimitDatasetSamples, read, func(fn visit) error { return visitAll(c.PathOrID, c.Split, fn) })
	if err != nil {
		return nil, err
	}
	return assemble(c, longest, chunks)
}

// newReader chooses what makes samples of a recipe's records.
func newReader(c configs.Dataset, tok Tokenizer, longest int) (reader, error) {
	switch c.Kind {
	case "text":
		return textReader(tok, c.Columns.Text, longest), nil
	case "chat":
		chat, err := NewChat(tok, c.Columns)
		if err != nil {
			return nil, fmt.Errorf("dataset.kind: %w", err)
		}
		return chat.read, nil
	}
	w, err := newWriter(c, tok)
	if err != nil {
		return nil, err
	}
	switch c.Kind {
	case "squad":
		return squadReader(w), nil
	case "columns":
		return columnsReader(w, c.Columns), nil
	case "hellaswag":
		return hellaswagReader(w), nil
	}
	return nil, fmt.Errorf("dataset.kind: %q is not known: use squad, hellaswag, columns, chat, text or mock", c.Kind)
}

// assemble puts samples together in the order of their records, by the recipe's rules for what cannot be used.
func assemble(c configs.Dataset, longest int, chunks []*chunk) (*Dataset, error) {
	a := assembly{config: c, longest: longest}
	for _, part := range chunks {
		for i, samples := range part.samples {
			if part.errs[i] != nil {
				a.leave(c.OnBad, part.errs[i])
				continue
			}
			for _, s := range samples {
				a.take(s)
			}
		}
	}
	if err := report(a.faults); err != nil {
		return nil, err
	}
	d := &a.Dataset
	if c.LimitDatasetSamples > 0 {
		d.Samples = d.Samples[:min(c.LimitDatasetSamples, len(d.Samples))]
	}
	if len(d.Samples) == 0 && d.Skipped == 0 {
		return nil, fmt.Errorf("data: %s holds no samples", c.PathOrID)
	} else if len(d.Samples) == 0 {
		return nil, fmt.Errorf("data: %s: no sample is left (%d left out: %s)", c.PathOrID, d.Skipped, strings.Join(d.Reasons[:min(3, len(d.Reasons))], "; "))
	}
	return d, nil
}

// assembly is a data set that is being put together.
type assembly struct {
	Dataset
	config  configs.Dataset
	longest int
	faults  []error
}

// leave leaves a sample out by a rule of the recipe, "error" or "skip".
func (a *assembly) leave(rule string, err error) {
	if rule != "skip" {
		a.faults = append(a.faults, err)
		return
	}
	a.Skipped++
	if len(a.Reasons) < shownFaults {
		a.Reasons = append(a.Reasons, err.Error())
	}
}

// take adds a sample if the rules let it.
func (a *assembly) take(s Sample) {
	c, n := a.config, len(s.IDs)
	if n > a.longest {
		if c.OnLong != "truncate" {
			a.leave(c.OnLong, fmt.Errorf("%s: %d tokens, longer than seq_length %d: raise dataset.seq_length (and packed_sequence_size, if rows are packed), or set dataset.on_long to \"truncate\" or \"skip\"", s.Origin, n, a.longest))
			return
		}
		s.IDs, s.Labels = s.IDs[:a.longest], s.Labels[:a.longest]
	}
	if len(s.IDs) == 0 || s.Valid() == 0 && c.Compat != "automodel" {
		err := fmt.Errorf("%s: nothing in it is trained on: mend it, or set dataset.on_bad = \"skip\"", s.Origin)
		if n > a.longest {
			err = fmt.Errorf("%s: cut from %d to %d tokens, and nothing in these is trained on: raise dataset.seq_length, or set dataset.on_bad = \"skip\"", s.Origin, n, a.longest)
		}
		a.leave(c.OnBad, err)
		return
	}
	if n > a.longest {
		a.Truncated++
	}
	a.Samples = append(a.Samples, s)
}
