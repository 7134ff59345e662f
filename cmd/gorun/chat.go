package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/term"

	"gorun/model/chat"
	"gorun/rank"
)

// dialogue is a conversation with a model, written by its chat template.
type dialogue struct {
	base     *rank.Base
	template *chat.Template
	said     []string // roles and what they said, in turn
}

// newDialogue begins a conversation, with what the system says if it says anything.
func newDialogue(base *rank.Base, system string) (*dialogue, error) {
	template, err := chat.New(base.Tokenizer)
	if err != nil {
		return nil, fmt.Errorf("--chat: %w", err)
	}
	d := &dialogue{base: base, template: template}
	if system != "" {
		d.said = []string{"system", system}
	}
	return d, nil
}

// ask is the text and the ids of the conversation with one more turn of the user, up to where the model's answer begins.
func (d *dialogue) ask(user string) (text string, ids []int32, err error) {
	said := append(slices.Clone(d.said), "user", user)
	if text, err = d.template.Render(chat.Turns(said...), true); err != nil {
		return "", nil, err
	}
	if ids, err = d.base.Encode(text); err != nil { // the template has written the special tokens
		return "", nil, err
	}
	if room(d.base, ids) < 1 {
		return "", nil, fmt.Errorf("the conversation has %d tokens and the model %d positions: begin a new one", len(ids), d.base.Decoder.MaxPositions)
	}
	return text, ids, nil
}

// answered adds a turn of the user and the model's to the conversation.
func (d *dialogue) answered(user, model string) {
	d.said = append(d.said, "user", user, "assistant", model)
}

// stops are the ids that end an answer: those that end any text, and the one that the template ends a turn with, which
// not every model's configuration names.
func (d *dialogue) stops() []int32 {
	const word = "a"
	stops := d.base.Stops()
	text, spans, err := d.template.Trained(chat.Turns("user", word, "assistant", word))
	if err != nil || len(spans) != 1 {
		return stops // a template with other wishes; the model's own stops remain
	}
	turn := text[spans[0][0]:spans[0][1]]
	whole, err1 := d.base.Encode(turn)
	alone, err2 := d.base.Encode(word)
	if err1 != nil || err2 != nil || len(whole) != len(alone)+1 || !slices.Equal(whole[:len(alone)], alone) {
		return stops // more than one token, or none: ordinary text, which an answer may hold
	}
	if end := whole[len(alone)]; d.base.Tokenizer.Decode([]int32{end}, true) == "" { // a special token
		stops = append(stops, end)
	}
	return stops
}

// chat lets the model answer turn by turn: one turn with --prompt, else each line of standard input. On a terminal it
// asks for them.
func (c *generateCmd) chat(ctx context.Context, a *app, w *writer, d *dialogue) error {
	w.stops = d.stops()
	turn := func(user string) error {
		text, ids, err := d.ask(user)
		if err != nil {
			return err
		}
		answer, err := w.write(ctx, text, ids)
		if err != nil {
			return err
		}
		d.answered(user, answer)
		return nil
	}
	if c.Prompt != "-" {
		return turn(c.Prompt)
	}
	ask := func() {}
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		ask = func() { _, _ = io.WriteString(a.stderr, "> ") }
	}
	ask()
	return eachLine(a.stdin, "standard input", func(line []byte) error {
		defer ask()
		return turn(string(line))
	})
}
