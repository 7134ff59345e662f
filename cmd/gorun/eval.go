package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"gorun/configs"
	"gorun/model/export"
	"gorun/rank"
	"gorun/rank/data"
)

type evalCmd struct {
	baseFlags

	Task      string `enum:"squad,perplexity" required:"" help:"squad (exact match and F1) or perplexity (of the answers)."`
	Data      string `default:"demo:squad" placeholder:"PATH" help:"The data: SQuAD's JSON, JSON lines, parquet, a folder, or a Hub id. Default: the demo's."`
	Split     string `default:"validation" placeholder:"NAME" help:"Split of a folder or of the demo's data."`
	Limit     int    `placeholder:"N" help:"Only the first N samples."`
	MaxTokens int    `default:"24" placeholder:"N" help:"Longest answer."`
	Show      int    `default:"3" placeholder:"N" help:"Also print N answers."`
}

// score is one line of the outcome.
type score struct {
	name    string
	columns []string
	answers []rank.Answer
}

// Run scores the base and, beside it, the base with the adapter.
func (c *evalCmd) Run(ctx context.Context, a *app) (err error) {
	if c.Limit < 0 || c.MaxTokens < 1 || c.Show < 0 {
		return fmt.Errorf("%w: --limit and --show must not be negative, --max-tokens at least 1", errUsage)
	}
	resolve := a.resolve(ctx)
	m, err := c.open(resolve)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.base.Close()) }()
	if c.Data, err = resolve(rank.DatasetResource, c.Data, ""); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	questions, err := data.SQuAD(c.Data, c.Split, c.Limit)
	if err != nil {
		return err
	}
	kind, device, err := a.device()
	if err != nil {
		return err
	}
	run := func(name string, adapter *export.Adapter) (sc score, err error) {
		s, err := rank.OpenSession(device, m.base, c.dtype(kind), adapter)
		if err != nil {
			return score{}, err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		sc, err = c.score(ctx, s, questions)
		sc.name = name
		return sc, err
	}
	base, err := run("base", nil)
	if err != nil {
		return err
	}
	scores := []score{base}
	if m.adapter != nil {
		tuned, err := run("with adapter", m.adapter)
		if err != nil {
			return err
		}
		scores = append(scores, tuned)
	}
	return c.print(a, scores)
}

func (c *evalCmd) score(ctx context.Context, s *rank.Session, questions []data.SQuADExample) (score, error) {
	if c.Task == "perplexity" {
		set := configs.Default().Dataset
		set.PathOrID, set.Split, set.LimitDatasetSamples = c.Data, c.Split, c.Limit
		d, err := data.Build(set, s.Base.Tokenizer, s.Base.Decoder.MaxPositions, s.Base.Decoder.Vocab)
		if err != nil {
			return score{}, err
		}
		nll, tokens, err := s.Perplexity(ctx, d)
		return score{columns: []string{fmt.Sprintf("%.4f", math.Exp(nll)), fmt.Sprintf("%.4f", nll), fmt.Sprint(tokens)}}, err
	}
	answers, err := s.Answers(ctx, questions, c.MaxTokens)
	em, f1 := rank.SQuADScore(answers)
	return score{columns: []string{fmt.Sprintf("%.1f", em), fmt.Sprintf("%.1f", f1), fmt.Sprint(len(answers))}, answers: answers}, err
}

func (c *evalCmd) print(a *app, scores []score) error {
	head := "\tEM\tF1\tquestions"
	if c.Task == "perplexity" {
		head = "\tperplexity\tnll\ttokens"
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, c.Task+head)
	for _, s := range scores {
		fmt.Fprintln(t, s.name+"\t"+strings.Join(s.columns, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	n := len(scores[0].answers)
	for i := range min(c.Show, n) {
		at := i * n / min(c.Show, n) // spread over the set
		q := scores[0].answers[at]
		fmt.Fprintf(a.stdout, "\nQ: %s\n   gold: %s\n", q.Question, strings.Join(q.Answers, " / "))
		for _, s := range scores {
			fmt.Fprintf(a.stdout, "   %s: %s\n", s.name, s.answers[at].Text)
		}
	}
	return nil
}
