package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
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

// answersJSON are answers in SQuAD's own form (a list of {text, answer_start}), in the Hub's ({text: [...]}), as a list
// of texts or as one text.
type answersJSON []string

func (a *answersJSON) UnmarshalJSON(b []byte) error {
	var spans []struct {
		Text *string `json:"text"`
	}
	var columns struct {
		Text []string `json:"text"`
	}
	var texts []string
	var text string
	switch {
	case json.Unmarshal(b, &texts) == nil:
		*a = texts
	case json.Unmarshal(b, &spans) == nil:
		for _, s := range spans {
			if s.Text == nil {
				return errors.New("an answer has no text")
			}
			*a = append(*a, *s.Text)
		}
	case json.Unmarshal(b, &columns) == nil:
		*a = columns.Text
	case json.Unmarshal(b, &text) == nil:
		*a = []string{text}
	default:
		return errors.New("answers are neither a list of {text, answer_start} nor {text: [...]}")
	}
	return nil
}

// flatJSON is one example on its own: a line of JSONL, or an element of a JSON list.
type flatJSON struct {
	ID       string      `json:"id"`
	Title    string      `json:"title"`
	Context  *string     `json:"context"`
	Question *string     `json:"question"`
	Answers  answersJSON `json:"answers"`
	Answer   answersJSON `json:"answer"`
}

func (f flatJSON) example(origin string) (SQuADExample, error) {
	var missing []string
	if f.Context == nil {
		missing = append(missing, "context")
	}
	if f.Question == nil {
		missing = append(missing, "question")
	}
	if f.Answers == nil && f.Answer == nil {
		missing = append(missing, "answers")
	}
	if missing != nil {
		return SQuADExample{}, fmt.Errorf("%s: no %s: a SQuAD example has context, question and answers", origin, strings.Join(missing, ", no "))
	}
	return SQuADExample{ID: f.ID, Title: f.Title, Context: *f.Context, Question: *f.Question, Answers: append(f.Answers, f.Answer...), Origin: origin}, nil
}

// nestedJSON is SQuAD's own file.
type nestedJSON struct {
	Data []struct {
		Title      string `json:"title"`
		Paragraphs []struct {
			Context *string `json:"context"`
			QAs     []struct {
				ID       string      `json:"id"`
				Question *string     `json:"question"`
				Answers  answersJSON `json:"answers"`
			} `json:"qas"`
		} `json:"paragraphs"`
	} `json:"data"`
}

func (n nestedJSON) examples(file string) (out []SQuADExample, faults []error) {
	for a, article := range n.Data {
		for p, par := range article.Paragraphs {
			for q, qa := range par.QAs {
				answers := qa.Answers
				if answers == nil {
					answers = answersJSON{}
				}
				origin := fmt.Sprintf("%s: data[%d].paragraphs[%d].qas[%d]", file, a, p, q)
				e, err := flatJSON{ID: qa.ID, Title: article.Title, Context: par.Context, Question: qa.Question, Answers: answers}.example(origin)
				if err != nil {
					faults = append(faults, err)
					continue
				}
				out = append(out, e)
			}
		}
	}
	return out, faults
}

// encodeSQuAD tokenises an example: prompt and first answer as one string, then EOS; the tokens that hold any of the
// answer, and EOS, are trained on. With automodel, as AutoModel 0.7: no EOS, and as many tokens are hidden as the
// prompt has on its own, which often hides the answer's first.
func encodeSQuAD(tok Tokenizer, e SQuADExample, automodel bool) (Sample, error) {
	if len(e.Answers) == 0 {
		return Sample{}, fmt.Errorf("%s: has no answer to train on", e.Origin)
	}
	prompt := e.Prompt()
	enc, err := tok.Encode(prompt+strings.TrimSpace(e.Answers[0]), false)
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", e.Origin, err)
	}
	trained := make([]bool, len(enc.IDs))
	if automodel {
		alone, err := tok.Encode(prompt, false)
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
	eos, ok := tok.EOS()
	if !ok {
		return Sample{}, errors.New("the tokenizer has no end-of-sequence token, so the model could not learn to stop: set eos_token in tokenizer_config.json, or use compat = \"automodel\"")
	}
	return shifted(append(enc.IDs, eos), append(trained, true), e.Origin), nil
}
