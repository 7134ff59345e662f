package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"gorun/configs"
	"gorun/rank"
	"gorun/rank/data"
)

type evalCmd struct {
	baseFlags

	Task      string `enum:"hellaswag,choices,squad,perplexity" required:"" placeholder:"TASK" help:"hellaswag (acc and acc_norm as lm-eval has them), choices (the same for any data with query, choices, gold), squad (exact match and F1) or perplexity (of SQuAD's answers)."`
	Data      string `default:"demo:squad" placeholder:"PATH" help:"The data: JSON, JSON lines, parquet, a folder, or a Hub id. Default: the demo's, for squad and perplexity."`
	Split     string `default:"validation" placeholder:"NAME" help:"Split of a folder or of the demo's data."`
	Limit     int    `placeholder:"N" help:"Only the first N samples."`
	MaxTokens *int   `placeholder:"N" help:"With --task squad: longest answer in tokens (24)."`
	Show      *int   `placeholder:"N" help:"With --task squad: also print N answers (3)."`
}

// score is one line of the outcome.
type score struct {
	name    string
	columns []string
	answers []rank.Answer
}

// Run scores the base and, beside it, the base with the adapter.
func (c *evalCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.check(); err != nil {
		return err
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
	task, err := c.task()
	if err != nil {
		return err
	}
	s, err := c.session(a, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var scores []score
	if m.adapter != nil {
		bare, err := s.Bare()
		if err != nil {
			return err
		}
		sc, err := task(ctx, bare)
		if err := errors.Join(err, bare.Close()); err != nil {
			return err
		}
		scores = append(scores, sc)
	}
	sc, err := task(ctx, s)
	if err != nil {
		return err
	}
	scores = append(scores, sc)
	for i, name := range []string{"base", "with adapter"}[:len(scores)] {
		scores[i].name = name
	}
	return c.print(a, scores)
}

// check refuses numbers out of range, and flags that the task has no use for.
func (c *evalCmd) check() error {
	if c.Task != "squad" && (c.MaxTokens != nil || c.Show != nil) {
		return fmt.Errorf("%w: --max-tokens and --show are of written answers, and --task %s has none: leave them away", errUsage, c.Task)
	}
	if c.Limit < 0 || c.maxTokens() < 1 || c.show() < 0 {
		return fmt.Errorf("%w: --limit and --show must not be negative, --max-tokens at least 1", errUsage)
	}
	return nil
}

func (c *evalCmd) maxTokens() int { return given(c.MaxTokens, 24) }
func (c *evalCmd) show() int      { return given(c.Show, 3) }

// task reads the data and returns what scores a session on it.
func (c *evalCmd) task() (func(context.Context, *rank.Session) (score, error), error) {
	switch c.Task {
	case "perplexity":
		return c.perplexity, nil
	case "squad":
		questions, err := data.SQuAD(c.Data, c.Split, c.Limit)
		return func(ctx context.Context, s *rank.Session) (score, error) {
			answers, err := s.Answers(ctx, questions, c.maxTokens())
			em, f1 := rank.SQuADScore(answers)
			return score{columns: []string{fmt.Sprintf("%.1f", em), fmt.Sprintf("%.1f", f1), fmt.Sprint(len(answers))}, answers: answers}, err
		}, err
	}
	if c.Data == data.DemoSQuAD {
		return nil, fmt.Errorf("%w: --task %s needs --data", errUsage, c.Task)
	}
	read := data.MultipleChoice
	if c.Task == "hellaswag" {
		read = data.HellaSwag
	}
	examples, err := read(c.Data, c.Split, c.Limit)
	return func(ctx context.Context, s *rank.Session) (score, error) {
		r, err := s.Choices(ctx, examples)
		share := func(v float64) string { return fmt.Sprintf("%.4f +- %.4f", v, r.StdErr(v)) }
		return score{columns: []string{share(r.Acc), share(r.AccNorm), share(r.AccBytes), fmt.Sprint(r.Examples)}}, err
	}, err
}

func (c *evalCmd) perplexity(ctx context.Context, s *rank.Session) (score, error) {
	set := configs.Default().Dataset
	set.PathOrID, set.Split, set.LimitDatasetSamples = c.Data, c.Split, c.Limit
	d, err := data.Build(ctx, set, s.Base.Tokenizer, s.Base.Decoder.MaxPositions, s.Base.Decoder.Vocab)
	if err != nil {
		return score{}, err
	}
	nll, tokens, err := s.Perplexity(ctx, d)
	err = errors.Join(err, d.Close())
	return score{columns: []string{fmt.Sprintf("%.4f", math.Exp(nll)), fmt.Sprintf("%.4f", nll), fmt.Sprint(tokens)}}, err
}

func (c *evalCmd) print(a *app, scores []score) error {
	head := map[string]string{"squad": "\tEM\tF1\tquestions", "perplexity": "\tperplexity\tnll\ttokens"}[c.Task]
	if head == "" {
		head = "\tacc\tacc_norm\tacc_bytes\texamples"
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
	for i := range min(c.show(), n) {
		at := i * n / min(c.show(), n) // spread over the set
		q := scores[0].answers[at]
		fmt.Fprintf(a.stdout, "\nQ: %s\n   gold: %s\n", q.Question, strings.Join(q.Answers, " / "))
		for _, s := range scores {
			fmt.Fprintf(a.stdout, "   %s: %s\n", s.name, s.answers[at].Text)
		}
	}
	return nil
}
