package data

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"gorun/configs"
)

// Dataset is a tokenised set of samples, which lie in a file unless they are few. Close it.
type Dataset struct {
	Skipped   int      // samples left out, as the recipe allows
	Truncated int      // samples cut to the sequence length
	Reasons   []string // of the first samples left out
	Cached    bool     // it comes from the cache
	tokens    *tokens
}

func newDataset(t *tokens) *Dataset {
	return &Dataset{Skipped: t.Skipped, Truncated: t.Truncated, Reasons: t.Reasons, tokens: t}
}

// Close gives up the file of the samples.
func (d *Dataset) Close() error {
	if d == nil {
		return nil
	}
	return d.tokens.close()
}

// Len is the number of samples.
func (d *Dataset) Len() int { return len(d.tokens.places) }

// length is the number of tokens of a sample.
func (d *Dataset) length(i int) int { return int(d.tokens.places[i].ids) }

// valid is the number of tokens of a sample that are trained on.
func (d *Dataset) valid(i int) int { return int(d.tokens.places[i].trained) }

// Sample reads one sample.
func (d *Dataset) Sample(i int) (Sample, error) { return d.tokens.sample(i) }

// First reads the first n samples, or as many as there are.
func (d *Dataset) First(n int) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		for i := range min(n, d.Len()) {
			if !yield(d.Sample(i)) {
				return
			}
		}
	}
}

// Stats sums a data set up.
type Stats struct {
	Samples, Tokens, Trained, Longest int
}

// Stats counts samples and tokens.
func (d *Dataset) Stats() Stats {
	t := d.tokens
	return Stats{Samples: t.Samples, Tokens: t.Tokens, Trained: t.Trained, Longest: t.Longest}
}

// Mean is the mean length of a sample in tokens.
func (s Stats) Mean() float64 { return float64(s.Tokens) / float64(max(1, s.Samples)) }

// Build reads and tokenises the data set of a recipe. longest is the model's own limit in tokens and vocab its size;
// the samples are in the order of the data whatever the number of goroutines. When ctx is cancelled it ends with ctx's error.
func Build(ctx context.Context, c configs.Dataset, tok Tokenizer, longest, vocab int) (*Dataset, error) {
	return Cache{}.Build(ctx, c, tok, longest, vocab)
}

// build makes a data set in a spool.
func build(ctx context.Context, a asked, to *spool, p Progress) (*Dataset, error) {
	c, longest, vocab := a.config, a.longest, a.vocab
	if c.SeqLength > 0 {
		longest = c.SeqLength
	}
	if c.Kind == "mock" && c.VocabSize > 0 {
		vocab = c.VocabSize
	}
	w, err := newTokenWriter(to, vocab)
	if err == nil {
		if longest < 1 {
			err = errors.New("dataset.seq_length: neither the recipe nor the model says how long a sample may be: set it")
		} else if c.Kind == "mock" {
			err = mock(w, c.NumSamples, c.MinLength, longest, vocab)
		} else {
			err = tokenise(ctx, w, c, a.tok, longest, p)
		}
	}
	if err != nil {
		return nil, errors.Join(err, to.close())
	}
	t, err := w.finish()
	if err != nil {
		return nil, errors.Join(err, to.close())
	}
	return newDataset(t), nil
}

// tokenise writes the samples of files.
func tokenise(ctx context.Context, w *tokenWriter, c configs.Dataset, tok Tokenizer, longest int, p Progress) error {
	read, err := newReader(c, tok, longest)
	if err != nil {
		return err
	}
	sources, err := newSources(c)
	if err != nil {
		return err
	}
	w.tail.Files = sources.files
	told := &lateProgress{to: p, what: "tokenising " + c.PathOrID, files: len(sources.files), bytes: sources.bytes()}
	defer told.end()
	sources.read = told.add
	a := &assembly{config: c, longest: longest, to: w}
	if err := stream(ctx, c.NumWorkers, c.LimitDatasetSamples, read, sources.visit, a.chunk); err != nil {
		return err
	}
	return a.end()
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

// assembly takes samples in the order of their records, by the recipe's rules for what cannot be used.
type assembly struct {
	config  configs.Dataset
	longest int
	to      *tokenWriter
	faults  []error // the first
	more    int     // faults that are not told
}

// chunk takes the samples of a run of records; its error is of writing them.
func (a *assembly) chunk(c *chunk) error {
	for i, samples := range c.samples {
		if c.errs[i] != nil {
			a.leave(a.config.OnBad, c.errs[i])
			continue
		}
		for _, s := range samples {
			if err := a.take(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// end tells whether what has been taken is a data set.
func (a *assembly) end() error {
	if a.more > 0 {
		a.faults = append(a.faults, fmt.Errorf("and %d more", a.more))
	}
	if a.faults != nil {
		return errors.Join(a.faults...)
	}
	t := &a.to.tail
	if t.Samples == 0 && t.Skipped == 0 {
		return fmt.Errorf("data: %s holds no samples", a.config.PathOrID)
	} else if t.Samples == 0 {
		return fmt.Errorf("data: %s: no sample is left (%d left out: %s)", a.config.PathOrID, t.Skipped, strings.Join(t.Reasons[:min(3, len(t.Reasons))], "; "))
	}
	return nil
}

// leave leaves a sample out by a rule of the recipe, "error" or "skip".
func (a *assembly) leave(rule string, err error) {
	t := &a.to.tail
	switch {
	case rule != "skip" && len(a.faults) < shownFaults:
		a.faults = append(a.faults, err)
	case rule != "skip":
		a.more++
	default:
		t.Skipped++
		if len(t.Reasons) < shownFaults {
			t.Reasons = append(t.Reasons, err.Error())
		}
	}
}

// take adds a sample if the rules let it.
func (a *assembly) take(s Sample) error {
	c, n := a.config, len(s.IDs)
	if n > a.longest {
		if c.OnLong != "truncate" {
			a.leave(c.OnLong, fmt.Errorf("%s: %d tokens, longer than seq_length %d: raise dataset.seq_length (and packed_sequence_size, if rows are packed), or set dataset.on_long to \"truncate\" or \"skip\"", s.Origin, n, a.longest))
			return nil
		}
		s.IDs, s.Labels = s.IDs[:a.longest], s.Labels[:a.longest]
	}
	if len(s.IDs) == 0 || s.Valid() == 0 && c.Compat != "automodel" {
		err := fmt.Errorf("%s: nothing in it is trained on: mend it, or set dataset.on_bad = \"skip\"", s.Origin)
		if n > a.longest {
			err = fmt.Errorf("%s: cut from %d to %d tokens, and nothing in these is trained on: raise dataset.seq_length, or set dataset.on_bad = \"skip\"", s.Origin, n, a.longest)
		}
		a.leave(c.OnBad, err)
		return nil
	}
	if n > a.longest {
		a.to.tail.Truncated++
	}
	if err := a.to.check(s); err != nil {
		a.leave("error", err)
	}
	if a.faults != nil || c.LimitDatasetSamples > 0 && a.to.tail.Samples == c.LimitDatasetSamples {
		return nil // it will not be used
	}
	return a.to.add(s)
}
