package data

import (
	"errors"
	"fmt"

	"gorun/configs"
	"gorun/model/chat"
)

// pair is a prompt and what shall follow it.
type pair struct {
	system string // set apart from the prompt where there are turns; "" = none
	prompt string
	answer string
}

// writer makes samples of pairs. Several goroutines use it at once.
type writer interface {
	write(p pair, origin string) ([]Sample, error)
}

// newWriter chooses how a recipe's data set writes pairs.
func newWriter(c configs.Dataset, tok Tokenizer) (writer, error) {
	if c.ChatTemplate {
		t, err := chat.New(tok)
		if err != nil {
			return nil, fmt.Errorf("dataset.chat_template: %w", err)
		}
		return &turnWriter{tok, t}, nil
	}
	eos, ok := tok.EOS()
	if !ok && c.Compat != "automodel" {
		return nil, errors.New("the tokenizer has no end-of-sequence token, so the model could not learn to stop: set eos_token in tokenizer_config.json, or use dataset.compat = \"automodel\"")
	}
	return &plainWriter{tok, eos, c.Compat == "automodel"}, nil
}

// noAnswer is the fault of a pair that teaches nothing.
func noAnswer(origin string) error {
	return fmt.Errorf("%s: has no answer to train on: give it one, or set dataset.on_bad = \"skip\"", origin)
}

// plainWriter writes prompt and answer as one string, no BOS.
type plainWriter struct {
	tok       Tokenizer
	eos       int32
	automodel bool // as AutoModel writes them
}

// write tokenises a pair. The tokens that hold any of the answer, and EOS, are trained on. As AutoModel does it there is
// no EOS, and as many tokens are hidden as the prompt has on its own, which often hides the answer's first (a tokenizer
// that splits before spaces gives the prompt's trailing space a token of its own, but joins it with the answer).
func (w *plainWriter) write(p pair, origin string) ([]Sample, error) {
	if p.answer == "" && !w.automodel {
		return nil, noAnswer(origin)
	}
	prompt := p.prompt
	if p.system != "" {
		prompt = p.system + " " + prompt
	}
	enc, err := w.tok.Encode(prompt+p.answer, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", origin, err)
	}
	trained := make([]bool, len(enc.IDs))
	if w.automodel {
		alone, err := w.tok.Encode(prompt, false)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", origin, err)
		}
		for i := range trained {
			trained[i] = i >= len(alone.IDs)
		}
		return []Sample{shifted(enc.IDs, trained, origin)}, nil
	}
	for i, span := range enc.Offsets {
		trained[i] = span[1] > len(prompt)
	}
	return []Sample{shifted(append(enc.IDs, w.eos), append(trained, true), origin)}, nil
}

// turnWriter writes conversations by the model's chat template. What the assistant wrote is trained on.
type turnWriter struct {
	tok      Tokenizer
	template *chat.Template
}

// write makes turns of a pair.
func (w *turnWriter) write(p pair, origin string) ([]Sample, error) {
	if p.answer == "" {
		return nil, noAnswer(origin)
	}
	said := []string{"user", p.prompt, "assistant", p.answer}
	if p.system != "" {
		said = append([]string{"system", p.system}, said...)
	}
	return w.conversation(chat.Turns(said...), origin)
}

// conversation tokenises a conversation; the template writes BOS itself. A token is trained on that holds any of what
// the assistant wrote.
func (w *turnWriter) conversation(c chat.Conversation, origin string) ([]Sample, error) {
	text, spans, err := w.template.Trained(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", origin, err)
	}
	enc, err := w.tok.Encode(text, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", origin, err)
	}
	trained := make([]bool, len(enc.IDs))
	at := 0
	for i, o := range enc.Offsets {
		for at < len(spans) && spans[at][1] <= o[0] {
			at++
		}
		trained[i] = at < len(spans) && o[1] > spans[at][0] && o[1] > o[0]
	}
	if len(enc.IDs) == 0 {
		return nil, fmt.Errorf("%s: the chat template writes nothing", origin)
	}
	return []Sample{shifted(enc.IDs, trained, origin)}, nil
}
