package data

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"gorun/configs"
	"gorun/model/chat"
	"gorun/rank/data/demo"
)

// SQuADExample is one question on a passage.
type SQuADExample struct {
	ID, Title, Context, Question string
	Answers                      []string // at least one, but in SQuAD v2's unanswerable questions
	Origin                       string   // file:line
	Turn                         string   // the prompt as a chat template writes it; "" = not written so
}

// Prompt is the text that the answer follows, in NeMo AutoModel's words, or in those of a chat template.
func (e SQuADExample) Prompt() string {
	if e.Turn != "" {
		return e.Turn
	}
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

// readSQuAD reads examples and the faults of those that cannot be read; the error is of a whole file.
func readSQuAD(path, split string, limit int) ([]SQuADExample, []error, error) {
	c := collector[SQuADExample]{limit: limit, make: exampleOf}
	err := visitSQuAD(path, split, c.visit)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return c.out, c.faults, err
}

// WriteTurns writes the prompts of examples by a tokenizer's chat template.
func WriteTurns(tok Tokenizer, examples []SQuADExample) error {
	t, err := chat.New(tok)
	if err != nil {
		return err
	}
	for i := range examples {
		e := &examples[i]
		if e.Turn, err = t.Render(chat.Turns("user", e.Prompt()), true); err != nil {
			return fmt.Errorf("%s: %w", e.Origin, err)
		}
	}
	return nil
}

// visitSQuAD visits the records of files, or of the set that gorun brings.
func visitSQuAD(path, split string, fn visit) error {
	if path == DemoSQuAD {
		return visitDemo(split, fn)
	}
	return visitFiles(path, split, fn)
}

// visitDemo visits the records of the set that gorun brings.
func visitDemo(split string, fn visit) error {
	raw := map[string]func() []byte{"train": demo.Train, "validation": demo.Validation}[split]
	if raw == nil {
		return fmt.Errorf("data: %s has the splits train and validation, not %q", DemoSQuAD, split)
	}
	return visitReader(DemoSQuAD+"/"+split, "json", bytes.NewReader(raw()), fn)
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

// squadReader makes samples of SQuAD's examples: prompt and first answer. As AutoModel makes them, a question without an
// answer is kept, with nothing to train on.
func squadReader(w writer) reader {
	return func(origin string, r record) (encode, error) {
		e, err := exampleOf(origin, r)
		if err != nil {
			return nil, err
		}
		p := pair{prompt: e.Prompt()}
		if len(e.Answers) > 0 {
			p.answer = strings.TrimSpace(e.Answers[0])
		}
		return func() ([]Sample, error) { return w.write(p, origin) }, nil
	}
}
