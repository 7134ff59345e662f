package data

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"gorun/configs"
	"gorun/rank/data/demo"
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
	s := Stats{Samples: len(d.Samples)}
	for _, x := range d.Samples {
		s.Tokens += len(x.IDs)
		s.Trained += x.Valid()
		s.Longest = max(s.Longest, len(x.IDs))
	}
	return s
}

// DemoSQuAD is the name of the question-answering set that gorun brings.
const DemoSQuAD = configs.DemoPrefix + "squad"

// SQuAD reads the examples that a recipe's data set names; those of demo:squad are built in.
func SQuAD(path, split string, limit int) ([]SQuADExample, error) {
	if path != DemoSQuAD {
		return ReadSQuAD(path, split, limit)
	}
	var raw []byte
	switch split {
	case "train":
		raw = demo.Train()
	case "validation":
		raw = demo.Validation()
	default:
		return nil, fmt.Errorf("data: %s has the splits train and validation, not %q", path, split)
	}
	out, faults := ParseSQuAD(path+"/"+split, "json", bytes.NewReader(raw))
	if limit > 0 {
		out = out[:min(limit, len(out))]
	}
	return out, report(faults)
}

// Build reads and tokenises the data set of a recipe. longest is the model's own limit in tokens and vocab its size;
// the samples are in the order of the data whatever the number of goroutines.
func Build(c configs.Dataset, tok Tokenizer, longest, vocab int) (*Dataset, error) {
	if c.SeqLength > 0 {
		longest = c.SeqLength
	}
	switch c.Kind {
	case "squad":
		if c.ChatTemplate {
			return nil, fmt.Errorf("dataset.chat_template: this version writes SQuAD's prompt in AutoModel's words only: leave it off")
		}
		examples, err := SQuAD(c.PathOrID, c.Split, c.LimitDatasetSamples)
		if err != nil {
			return nil, err
		}
		return encodeAll(c, longest, len(examples), func(i int) (Sample, error) {
			return encodeSQuAD(tok, examples[i], c.Compat == "automodel")
		})
	case "mock":
		if c.VocabSize > 0 {
			vocab = c.VocabSize
		}
		return mock(c, longest, vocab), nil
	}
	return nil, fmt.Errorf("dataset.kind: this version reads \"squad\" and \"mock\", not yet %q", c.Kind)
}

// encodeAll tokenises n samples on all cores and applies the recipe's rules for those that do not fit.
func encodeAll(c configs.Dataset, longest, n int, encode func(i int) (Sample, error)) (*Dataset, error) {
	workers := c.NumWorkers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	samples, errs := make([]Sample, n), make([]error, n)
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error {
			for i := w; i < n; i += workers {
				samples[i], errs[i] = encode(i)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	d := &Dataset{}
	var faults []error
	leave := func(rule string, err error) {
		if rule != "skip" {
			faults = append(faults, err)
			return
		}
		d.Skipped++
		if len(d.Reasons) < shownFaults {
			d.Reasons = append(d.Reasons, err.Error())
		}
	}
	for i, s := range samples {
		if err := errs[i]; err != nil {
			leave(c.OnBad, err)
			continue
		}
		if len(s.IDs) > longest {
			if c.OnLong != "truncate" {
				leave(c.OnLong, fmt.Errorf("%s: %d tokens, longer than seq_length %d: raise dataset.seq_length, or set dataset.on_long to \"truncate\" or \"skip\"", s.Origin, len(s.IDs), longest))
				continue
			}
			s.IDs, s.Labels = s.IDs[:longest], s.Labels[:longest]
			d.Truncated++
		}
		if len(s.IDs) == 0 || s.Valid() == 0 && c.Compat != "automodel" {
			leave(c.OnBad, fmt.Errorf("%s: nothing in it is trained on", s.Origin))
			continue
		}
		d.Samples = append(d.Samples, s)
	}
	if err := report(faults); err != nil {
		return nil, err
	}
	if len(d.Samples) == 0 {
		return nil, fmt.Errorf("data: %s: no sample is left (%d left out: %s)", c.PathOrID, d.Skipped, strings.Join(d.Reasons[:min(3, len(d.Reasons))], "; "))
	}
	return d, nil
}

// mock makes samples of random ids, every one of them predicting the next: the work of a benchmark.
func mock(c configs.Dataset, seq, vocab int) *Dataset {
	d := &Dataset{Samples: make([]Sample, max(1, c.NumSamples))}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range d.Samples {
		tokens, trained := make([]int32, seq+1), make([]bool, seq+1)
		for t := range tokens {
			tokens[t], trained[t] = int32(rng.IntN(vocab)), true
		}
		d.Samples[i] = shifted(tokens, trained, fmt.Sprintf("mock:%d", i))
	}
	return d
}
