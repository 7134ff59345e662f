package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rs/zerolog"

	"gorun/model/infer"
	"gorun/rank"
)

type generateCmd struct {
	baseFlags

	Prompt      string  `default:"-" placeholder:"TEXT" help:"The prompt; - reads standard input."`
	Chat        bool    `help:"Talk to the model by its chat template: --prompt is a turn, or each line of standard input is one, and the model remembers those before."`
	System      string  `placeholder:"TEXT" help:"With --chat: what the system says before the first turn."`
	Prompts     string  `placeholder:"FILE" help:"Many prompts at once: JSON lines, each {\"prompt\": ...} or a string; with --out."`
	Out         string  `placeholder:"FILE" help:"With --prompts: where the texts go, as JSON lines in the same order."`
	MaxTokens   int     `default:"128" placeholder:"N" help:"Most tokens to write."`
	Temperature float64 `default:"0" placeholder:"T" help:"0, the default, is greedy; 1 samples from the model's own probabilities."`
	TopK        int     `default:"0" placeholder:"K" help:"Sample from the K likeliest tokens; 0, the default, is all."`
	TopP        float64 `default:"1" placeholder:"P" help:"Sample from the likeliest tokens whose probabilities sum to P."`
	Seed        uint64  `default:"1111" placeholder:"N" help:"Seed of the sampling."`
	Stream      bool    `default:"true" negatable:"" help:"Print tokens as they come. --no-stream prints all at the end."`
	JSON        bool    `name:"json" help:"Print one JSON object instead of the text."`
	Logprobs    int     `placeholder:"N" help:"With --json: log-probabilities of the N likeliest tokens at each position."`
}

// settings checks the flags and returns those of the sampling.
func (c *generateCmd) settings() (infer.Sampling, error) {
	sampling := infer.Sampling{Temperature: c.Temperature, TopK: c.TopK, TopP: c.TopP, Seed: c.Seed}
	err := sampling.Validate()
	switch {
	case c.MaxTokens < 1 || c.Logprobs < 0:
		err = errors.New("--max-tokens must be at least 1 and --logprobs at least 0")
	case (c.Prompts == "") != (c.Out == ""):
		err = errors.New("--prompts and --out go together")
	case c.Prompts != "" && (c.Prompt != "-" || c.JSON || c.Logprobs > 0):
		err = errors.New("--prompts takes neither --prompt, --json nor --logprobs: --out has a line of JSON for each prompt")
	case c.Logprobs > 0 && !c.JSON:
		err = errors.New("--logprobs goes with --json")
	case c.System != "" && !c.Chat:
		err = errors.New("--system goes with --chat")
	}
	if err != nil {
		return sampling, fmt.Errorf("%w: %w", errUsage, err)
	}
	return sampling, nil
}

// Run continues the prompt, many prompts, or a conversation.
func (c *generateCmd) Run(ctx context.Context, a *app) (err error) {
	sampling, err := c.settings()
	if err != nil {
		return err
	}
	if c.Prompts != "" {
		return c.batch(ctx, a, sampling)
	}
	m, err := c.open(a.resolve(ctx))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.base.Close()) }()
	var talk *dialogue
	var prompt string
	var ids []int32
	if c.Chat {
		talk, err = newDialogue(m.base, c.System)
	} else if prompt, err = c.readPrompt(a); err == nil {
		ids, err = encodePrompt(m.base, prompt)
	}
	if err != nil {
		return err
	}
	s, err := c.session(a, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	w := &writer{c: c, out: a.stdout, log: a.log, base: m.base, session: s, sampling: sampling, stops: m.base.Stops()}
	if c.Chat {
		return c.chat(ctx, a, w, talk)
	}
	_, err = w.write(ctx, prompt, ids)
	return err
}

// readPrompt is --prompt, or standard input.
func (c *generateCmd) readPrompt(a *app) (string, error) {
	if c.Prompt != "-" {
		return c.Prompt, nil
	}
	b, err := io.ReadAll(a.stdin)
	if err != nil {
		return "", fmt.Errorf("read the prompt: %w", err)
	}
	prompt := strings.TrimRight(string(b), "\n")
	if prompt == "" {
		return "", fmt.Errorf("%w: standard input has no prompt: write one to it, or give --prompt TEXT", errUsage)
	}
	return prompt, nil
}

// encodePrompt turns a prompt into ids, and refuses one that leaves no place for an answer.
func encodePrompt(base *rank.Base, prompt string) ([]int32, error) {
	ids, err := base.Encode(prompt)
	if err == nil && room(base, ids) < 1 {
		return nil, fmt.Errorf("the prompt has %d tokens and the model %d positions: shorten it", len(ids), base.Decoder.MaxPositions)
	}
	return ids, err
}

// room is how many tokens may follow a text: the model has not learnt places beyond its positions.
func room(base *rank.Base, ids []int32) int { return base.Decoder.MaxPositions - len(ids) }

// writer continues prompts and prints what the model writes, as the flags say.
type writer struct {
	c        *generateCmd
	out      io.Writer
	log      zerolog.Logger
	base     *rank.Base
	session  *rank.Session
	sampling infer.Sampling
	stops    []int32
}

// write continues a prompt, prints the continuation and returns its text.
func (w *writer) write(ctx context.Context, prompt string, ids []int32) (string, error) {
	most := min(w.c.MaxTokens, room(w.base, ids))
	req := infer.Request{Prompts: [][]int32{ids}, MaxTokens: most, Stop: w.stops, Sampling: w.sampling, LogProbs: w.c.Logprobs}
	text := w.base.Tokenizer.NewStream()
	show := w.c.Stream && !w.c.JSON
	var unwritten error // what cannot be shown need not be made
	if show {
		req.OnToken = func(_ int, step infer.Step) bool {
			_, unwritten = io.WriteString(w.out, text.Push(step.ID))
			return unwritten == nil
		}
	}
	got, err := w.session.Generate(ctx, req)
	if err = errors.Join(err, unwritten); err != nil {
		return "", err
	}
	if most < w.c.MaxTokens && !got[0].Stopped {
		w.log.Warn().Msgf("the text ends after %d tokens, at the last of the model's %d positions", most, w.base.Decoder.MaxPositions)
	}
	whole := w.base.Tokenizer.Decode(got[0].IDs(), true)
	switch {
	case w.c.JSON:
		err = w.json(prompt, ids, got[0])
	case show:
		_, err = fmt.Fprintln(w.out, text.Flush())
	default:
		_, err = fmt.Fprintln(w.out, whole)
	}
	return whole, err
}

// tokenJSON is a token in --json's output.
type tokenJSON struct {
	ID      int32       `json:"id"`
	Text    string      `json:"text"`
	LogProb float64     `json:"logprob"`
	Top     []tokenJSON `json:"top,omitempty"`
}

// json prints a continuation as one object on one line.
func (w *writer) json(prompt string, ids []int32, got infer.Continuation) error {
	token := func(t infer.Token) tokenJSON {
		return tokenJSON{ID: t.ID, Text: w.base.Tokenizer.Decode([]int32{t.ID}, false), LogProb: t.LogProb}
	}
	out := struct {
		Prompt  string      `json:"prompt"`
		IDs     []int32     `json:"prompt_ids"`
		Text    string      `json:"text"`
		Stopped bool        `json:"stopped"` // by an end token, not by --max-tokens
		Tokens  []tokenJSON `json:"tokens"`
	}{Prompt: prompt, IDs: ids, Text: w.base.Tokenizer.Decode(got.IDs(), true), Stopped: got.Stopped}
	for _, s := range got.Steps {
		t := token(s.Token)
		for _, l := range s.Likeliest {
			t.Top = append(t.Top, token(l))
		}
		out.Tokens = append(out.Tokens, t)
	}
	e := json.NewEncoder(w.out)
	e.SetEscapeHTML(false)
	return e.Encode(out)
}
