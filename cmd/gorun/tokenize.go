package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"gorun/configs"
	"gorun/model/tokenizer"
	"gorun/rank"
	"gorun/rank/data"
)

type tokenizeCmd struct {
	Model  string `required:"" placeholder:"MODEL" help:"Whose tokenizer: a Hub id, a Hugging Face folder, a tokenizer.json, a GGUF file, or a demo model."`
	Decode bool   `xor:"what" help:"Ids in, text out."`
	Chat   bool   `xor:"what" help:"Conversations in ({\"messages\": [...], \"tools\": [...]}): show the text that the chat template makes of them, with what would be trained on in [[ ]]."`
	Input  string `arg:"" optional:"" default:"-" name:"FILE" help:"JSON lines; - is standard input."`
}

// tokenizeLine is a line of input or output: text and ids, whichever is asked for added.
type tokenizeLine struct {
	Text    *string  `json:"text,omitempty"`
	IDs     []int32  `json:"ids"`
	Offsets [][2]int `json:"offsets,omitempty"`
}

// maxLine is the longest line that is read.
const maxLine = 64 << 20

// Run turns {"text": ...} or "..." into ids, or, with --decode, {"ids": [...]} or [...] into text, line by line; with
// --chat it shows conversations as training would see them.
func (c *tokenizeCmd) Run(ctx context.Context, a *app) (err error) {
	path, err := a.resolve(ctx)(rank.ModelResource, c.Model, "")
	if err != nil {
		return err
	}
	tok, err := rank.OpenTokenizer(path)
	if err != nil {
		return err
	}
	in, name := a.stdin, "standard input"
	if c.Input != "-" {
		f, err := os.Open(c.Input)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		in, name = f, c.Input
	}
	if c.Chat {
		return showChats(a.stdout, tok, in, name)
	}
	out := bufio.NewWriter(a.stdout)
	defer func() { err = errors.Join(err, out.Flush()) }()
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return eachLine(in, name, func(line []byte) error {
		var l tokenizeLine
		if c.Decode {
			if json.Unmarshal(line, &l.IDs) != nil && json.Unmarshal(line, &l) != nil || l.IDs == nil {
				return errors.New(`is neither a list of ids nor {"ids": [...]}`)
			}
			text := tok.Decode(l.IDs, false)
			l.Text = &text
			return enc.Encode(l)
		}
		var text string
		if json.Unmarshal(line, &text) != nil {
			if err := json.Unmarshal(line, &l); err != nil || l.Text == nil {
				return errors.New(`is neither a JSON string nor {"text": "..."}`)
			}
			text = *l.Text
		}
		got, err := tok.Encode(text, false)
		if err != nil {
			return err
		}
		return enc.Encode(tokenizeLine{Text: &text, IDs: got.IDs, Offsets: got.Offsets})
	})
}

// showChats shows the conversations of JSON lines, one after the other.
func showChats(w io.Writer, tok *tokenizer.Tokenizer, in io.Reader, name string) error {
	chat, err := data.NewChat(tok, configs.Default().Dataset.Columns)
	if err != nil {
		return err
	}
	n := 0
	return eachLine(in, name, func(line []byte) error {
		n++
		s, err := chat.Encode(line, fmt.Sprintf("conversation %d", n))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n\n", data.Show(s, func(ids []int32) string { return tok.Decode(ids, false) }))
		return err
	})
}

// eachLine calls do for every line that is not empty; errors get the file and the line.
func eachLine(r io.Reader, name string, do func(line []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		if len(s.Bytes()) == 0 {
			continue
		}
		if err := do(s.Bytes()); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
