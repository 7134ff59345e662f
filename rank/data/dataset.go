package data

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"gorun/configs"
)

// Dataset is a tokenised set of samples.
type Dataset struct {
	Samples   []Sample
	Skipped   int      // samples left out, as the recipe allows
	Truncated int      // samples cut to the sequence length
	Reasons   []string // of the first samples left out
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
	switch c.Kind {
	case "squad":
		if c.ChatTemplate {
			return nil, errors.New("dataset.chat_template: this version writes SQuAD's prompt in AutoModel's words only: leave it off")
		}
		f, err := newSQuADFormat(tok, c.Compat == "automodel")
		if err != nil {
			return nil, err
		}
		examples, faults, err := readSQuAD(c.PathOrID, c.Split, c.LimitDatasetSamples)
		if err != nil {
			return nil, err
		}
		return assemble(c, longest, faults, len(examples), func(i int) ([]Sample, error) {
			s, err := f.encode(examples[i])
			return []Sample{s}, err
		})
	case "text":
		texts, faults, err := readTexts(c.PathOrID, c.Split, c.Columns.Text, c.LimitDatasetSamples)
		if err != nil {
			return nil, err
		}
		return assemble(c, longest, faults, len(texts), func(i int) ([]Sample, error) {
			return encodeText(tok, texts[i], longest)
		})
	case "mock":
		if c.VocabSize > 0 {
			vocab = c.VocabSize
		}
		return mock(c.NumSamples, longest, vocab)
	}
	return nil, fmt.Errorf("dataset.kind: this version reads \"squad\", \"text\" and \"mock\", not yet %q", c.Kind)
}

// assemble tokenises n pieces of text on all cores and applies the recipe's rules for what cannot be used; faults are
// of pieces that could not even be read.
func assemble(c configs.Dataset, longest int, faults []error, n int, encode func(i int) ([]Sample, error)) (*Dataset, error) {
	pieces, errs := encodeAll(c.NumWorkers, n, encode)
	a := assembly{config: c, longest: longest}
	for _, err := range faults {
		a.leave(c.OnBad, err)
	}
	for i, piece := range pieces {
		if errs[i] != nil {
			a.leave(c.OnBad, errs[i])
			continue
		}
		for _, s := range piece {
			a.take(s)
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

// encodeAll calls encode(0) ... encode(n-1) in some goroutines (0 = one per core); results are in order.
func encodeAll(workers, n int, encode func(i int) ([]Sample, error)) ([][]Sample, []error) {
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	out, errs := make([][]Sample, n), make([]error, n)
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error {
			for i := w; i < n; i += workers {
				out[i], errs[i] = encode(i)
			}
			return nil
		})
	}
	_ = g.Wait() // no goroutine returns an error: each sample has its own
	return out, errs
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
			a.leave(c.OnLong, fmt.Errorf("%s: %d tokens, longer than seq_length %d: raise dataset.seq_length, or set dataset.on_long to \"truncate\" or \"skip\"", s.Origin, n, a.longest))
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
