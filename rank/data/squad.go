package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gorun/configs"
	"gorun/rank/data/demo"
)

// SQuADExample is one question on a passage.
type SQuADExample struct {
	ID, Title, Context, Question string
	Answers                      []string // at least one, but in SQuAD v2's unanswerable questions
	Origin                       string   // file:line
}

// Prompt is the text that the answer follows, in NeMo AutoModel's words.
func (e SQuADExample) Prompt() string {
	return fmt.Sprintf("Context: %s Question: %s Answer: ", e.Context, e.Question)
}

// DemoSQuAD is the name of the question-answering set that gorun brings.
const DemoSQuAD = configs.DemoPrefix + "squad"

// SQuAD reads the examples that a recipe's data set names: SQuAD's own nested JSON (v1.1 or v2), a JSON list, JSON lines
// or parquet, packed or not. path is a file, a folder with files of split, or demo:squad, which is built in. limit 0
// takes all, else the first so many. A broken example is an error; the first 20 are told.
func SQuAD(path, split string, limit int) ([]SQuADExample, error) {
	out, faults, err := readSQuAD(path, split, limit)
	if err != nil {
		return nil, err
	}
	if err := report(faults); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("data: %s holds no examples", path)
	}
	return out, nil
}

// ParseSQuAD reads examples of one format ("json" or "jsonl") from r; name is for messages. The faults are those of
// the examples that are left out, or one of the whole.
func ParseSQuAD(name, kind string, r io.Reader) ([]SQuADExample, []error) {
	c := collector[SQuADExample]{make: exampleOf}
	if err := visitReader(name, kind, r, c.visit); err != nil {
		c.faults = append(c.faults, err)
	}
	return c.out, c.faults
}

// readSQuAD reads examples and the faults of those that cannot be read; the error is of a whole file.
func readSQuAD(path, split string, limit int) ([]SQuADExample, []error, error) {
	c := collector[SQuADExample]{limit: limit, make: exampleOf}
	if path == DemoSQuAD {
		raw := map[string]func() []byte{"train": demo.Train, "validation": demo.Validation}[split]
		if raw == nil {
			return nil, nil, fmt.Errorf("data: %s has the splits train and validation, not %q", path, split)
		}
		err := visitReader(path+"/"+split, "json", bytes.NewReader(raw()), c.visit)
		if errors.Is(err, errEnough) {
			err = nil
		}
		return c.out, c.faults, err
	}
	files, err := resolve(path, split)
	if err != nil {
		return nil, nil, err
	}
	err = c.collect(files)
	return c.out, c.faults, err
}

// exampleOf reads an example from a record.
func exampleOf(origin string, r record) (SQuADExample, error) {
	e := SQuADExample{Origin: origin}
	var absent []string
	var errs []error
	text := func(field string, required bool) string {
		s, ok, err := r.text(field)
		if err != nil {
			errs = append(errs, err)
		} else if !ok && required {
			absent = append(absent, field)
		}
		return s
	}
	e.ID, e.Title = text("id", false), text("title", false)
	e.Context, e.Question = text("context", true), text("question", true)
	answered := false
	for _, field := range []string{"answers", "answer"} {
		all, ok, err := r.texts(field)
		if err != nil {
			errs = append(errs, err)
		}
		answered = answered || ok || err != nil
		e.Answers = append(e.Answers, all...)
	}
	if !answered {
		absent = append(absent, "answers")
	}
	if absent != nil {
		errs = append(errs, missing(r, absent, "a SQuAD example has context, question and answers"))
	}
	return e, inOneLine(errs)
}

// inOneLine joins the faults of one record.
func inOneLine(errs []error) error {
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	var all []string
	for _, err := range errs {
		all = append(all, err.Error())
	}
	return errors.New(strings.Join(all, "; "))
}

// squadFormat writes examples as token sequences: prompt and first answer as one string, no BOS.
type squadFormat struct {
	tok       Tokenizer
	eos       int32
	automodel bool // as AutoModel writes them
}

func newSQuADFormat(tok Tokenizer, automodel bool) (*squadFormat, error) {
	eos, ok := tok.EOS()
	if !ok && !automodel {
		return nil, errors.New("the tokenizer has no end-of-sequence token, so the model could not learn to stop: set eos_token in tokenizer_config.json, or use dataset.compat = \"automodel\"")
	}
	return &squadFormat{tok, eos, automodel}, nil
}

// encode tokenises an example. The tokens that hold any of the answer, and EOS, are trained on. As AutoModel does it
// there is no EOS, and as many tokens are hidden as the prompt has on its own, which often hides the answer's first (a
// tokenizer that splits before spaces gives the prompt's trailing space a token of its own, but joins it with the
// answer); a question without an answer is kept, with nothing to train on.
func (f *squadFormat) encode(e SQuADExample) (Sample, error) {
	answer := ""
	if len(e.Answers) > 0 {
		answer = strings.TrimSpace(e.Answers[0])
	}
	if answer == "" && !f.automodel {
		return Sample{}, fmt.Errorf("%s: has no answer to train on: give it one, or set dataset.on_bad = \"skip\"", e.Origin)
	}
	prompt := e.Prompt()
	enc, err := f.tok.Encode(prompt+answer, false)
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", e.Origin, err)
	}
	trained := make([]bool, len(enc.IDs))
	if f.automodel {
		alone, err := f.tok.Encode(prompt, false)
		if err != nil {
			return Sample{}, fmt.Errorf("%s: %w", e.Origin, err)
		}
		for i := range trained {
			trained[i] = i >= len(alone.IDs)
		}
		return shifted(enc.IDs, trained, e.Origin), nil
	}
	for i, span := range enc.Offsets {
		trained[i] = span[1] > len(prompt)
	}
	return shifted(append(enc.IDs, f.eos), append(trained, true), e.Origin), nil
}
