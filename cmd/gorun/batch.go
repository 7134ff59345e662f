package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"gorun/model/infer"
	"gorun/rank"
)

// batchRows is how many prompts are continued together.
const batchRows = 8

// batchLine is a line of --prompts and, with the rest filled in, of --out.
type batchLine struct {
	Prompt  *string `json:"prompt"`
	Text    string  `json:"text"`
	Tokens  int     `json:"tokens"`
	Stopped bool    `json:"stopped"` // by an end token, not by --max-tokens
	ids     []int32
}

// batch continues every prompt of a file; the lines of --out are in the order of the prompts. The file appears when all
// are done.
func (c *generateCmd) batch(ctx context.Context, a *app, sampling infer.Sampling) (err error) {
	m, err := c.open(a.resolve(ctx))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.base.Close()) }()
	encode, stops, err := c.encoder(m.base)
	if err != nil {
		return err
	}
	lines, err := readPrompts(c.Prompts, encode)
	if err != nil {
		return err
	}
	out, err := os.Create(c.Out + ".tmp") // now: a folder that is not there must not cost what is made for it
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err == nil {
			err = os.Rename(out.Name(), c.Out)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	s, err := c.session(a, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := infer.Request{MaxTokens: c.MaxTokens, Stop: stops, Sampling: sampling}
	if err := continued(ctx, s, m.base, r, lines); err != nil {
		return err
	}
	return writeBatch(out, lines)
}

// continued fills in what the model makes of every prompt; those of like length go together: less padding.
func continued(ctx context.Context, s *rank.Session, base *rank.Base, r infer.Request, lines []*batchLine) error {
	order := slices.Clone(lines)
	slices.SortStableFunc(order, func(a, b *batchLine) int { return len(a.ids) - len(b.ids) })
	for chunk := range slices.Chunk(order, batchRows) {
		r.Prompts = nil
		for _, l := range chunk {
			r.Prompts = append(r.Prompts, l.ids)
		}
		got, err := s.Generate(ctx, r)
		if err != nil {
			return err
		}
		for i, l := range chunk {
			ids, most := got[i].IDs(), room(base, l.ids)
			l.Stopped = got[i].Stopped && len(ids) <= most
			ids = ids[:min(len(ids), most)] // the others of the chunk may go on for longer
			l.Text, l.Tokens = base.Tokenizer.Decode(ids, true), len(ids)
		}
	}
	return nil
}

// encoder turns prompts into ids, with --chat each as the first turn of a conversation, and says what ends a continuation.
func (c *generateCmd) encoder(base *rank.Base) (encode func(prompt string) ([]int32, error), stops []int32, err error) {
	if !c.Chat {
		return func(prompt string) ([]int32, error) { return encodePrompt(base, prompt) }, base.Stops(), nil
	}
	d, err := newDialogue(base, c.System)
	if err != nil {
		return nil, nil, err
	}
	return func(prompt string) ([]int32, error) {
		_, ids, err := d.ask(prompt)
		return ids, err
	}, d.stops(), nil
}

// readPrompts reads and tokenises {"prompt": ...} or "..." line by line.
func readPrompts(path string, encode func(string) ([]int32, error)) (lines []*batchLine, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = eachLine(f, path, func(raw []byte) error {
		l := &batchLine{}
		if json.Unmarshal(raw, &l.Prompt) != nil {
			if err := json.Unmarshal(raw, l); err != nil || l.Prompt == nil {
				return errors.New(`is neither a JSON string nor {"prompt": "..."}`)
			}
		}
		if l.Prompt == nil {
			return errors.New("is null, want a prompt")
		}
		if l.ids, err = encode(*l.Prompt); err != nil {
			return err
		}
		lines = append(lines, l)
		return nil
	})
	if err == nil && len(lines) == 0 {
		err = fmt.Errorf("%s holds no prompts", path)
	}
	return lines, err
}

// writeBatch writes the lines.
func writeBatch(w io.Writer, lines []*batchLine) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return b.Flush()
}
