package rank

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gorun/model/infer"
	"gorun/rank/data"
	"gorun/rank/metrics"
	"gorun/rank/squad"
)

// Answer is a model's answer to a question.
type Answer struct {
	data.SQuADExample
	Text string
}

// answerRows is how many questions are answered together.
const answerRows = 8

// Answers lets the model answer questions, greedily, in the order given. A line break ends an answer.
func (s *Session) Answers(ctx context.Context, questions []data.SQuADExample, maxTokens int) ([]Answer, error) {
	prompts := make([][]int32, len(questions))
	for i, q := range questions {
		ids, err := s.Base.Encode(strings.TrimRight(q.Prompt(), " "))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.Origin, err)
		}
		prompts[i] = ids
	}
	// Prompts of like length together: less padding. The order of answers is that of the questions.
	order := make([]int, len(questions))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(prompts[a]) - len(prompts[b]) })
	out := make([]Answer, len(questions))
	for batch := range slices.Chunk(order, answerRows) {
		req := infer.Request{MaxTokens: maxTokens, Stop: s.Base.Stops()}
		for _, i := range batch {
			req.Prompts = append(req.Prompts, prompts[i])
		}
		texts := make([]string, len(batch))
		req.OnToken = func(row int, step infer.Step) bool {
			texts[row] += s.Base.Tokenizer.Decode([]int32{step.ID}, true)
			return !strings.Contains(strings.TrimLeft(texts[row], "\n "), "\n")
		}
		got, err := s.Generate(ctx, req)
		if err != nil {
			return nil, err
		}
		for row, i := range batch {
			out[i] = Answer{questions[i], squad.Answer(s.Base.Tokenizer.Decode(got[row].IDs(), true))}
		}
	}
	return out, nil
}

// SQuADScore is exact match and F1 in percent.
func SQuADScore(answers []Answer) (em, f1 float64) {
	for _, a := range answers {
		e, f := squad.Score(a.Text, a.Answers)
		em += e
		f1 += f
	}
	n := float64(max(1, len(answers)))
	return 100 * em / n, 100 * f1 / n
}

// perplexityRows is how many samples are scored together.
const perplexityRows = 8

// Perplexity is the mean negative log-probability of a set's supervised tokens and their number.
func (s *Session) Perplexity(ctx context.Context, d *data.Dataset) (nll float64, tokens int, err error) {
	return s.meanLoss(ctx, d, perplexityRows)
}

// samples shows and records answers before and after training, as the recipe asks.
func (t *trainer) samples(ctx context.Context, when string) error {
	c := t.recipe.GenerateSamples
	questions, err := t.sampleQuestions(c.NumSamples)
	if err != nil {
		return err
	}
	answers, err := t.Answers(ctx, questions, c.MaxNewTokens)
	if err != nil {
		return fmt.Errorf("samples %s training: %w", when, err)
	}
	for _, a := range answers {
		err := t.log.Sample(metrics.SampleRecord{Step: t.state.Steps(), When: when, Prompt: a.Question, Gold: a.SQuADExample.Answers, Answer: a.Text})
		if err != nil {
			return err
		}
	}
	for _, prompt := range c.Prompts {
		ids, err := t.Base.Encode(prompt)
		if err != nil {
			return fmt.Errorf("generate_samples.prompts: %w", err)
		}
		got, err := t.Generate(ctx, infer.Request{Prompts: [][]int32{ids}, MaxTokens: c.MaxNewTokens, Stop: t.Base.Stops()})
		if err != nil {
			return fmt.Errorf("samples %s training: %w", when, err)
		}
		err = t.log.Sample(metrics.SampleRecord{Step: t.state.Steps(), When: when, Prompt: prompt, Answer: t.Base.Tokenizer.Decode(got[0].IDs(), true)})
		if err != nil {
			return err
		}
	}
	return nil
}

// sampleQuestions takes n questions, spread over the first SQuAD validation set.
func (t *trainer) sampleQuestions(n int) ([]data.SQuADExample, error) {
	for _, name := range t.job.valNames {
		c := t.job.located.local(t.recipe.ValidationDataset[name])
		if c.Kind != "squad" || n == 0 {
			continue
		}
		all, err := data.SQuAD(c.PathOrID, c.Split, c.LimitDatasetSamples)
		if err != nil {
			return nil, err
		}
		var out []data.SQuADExample
		for i := range min(n, len(all)) {
			out = append(out, all[i*len(all)/min(n, len(all))])
		}
		if c.ChatTemplate {
			return out, data.WriteTurns(t.Base.Tokenizer, out)
		}
		return out, nil
	}
	return nil, nil
}
