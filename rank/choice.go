package rank

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gorun/rank/data"
)

// ChoiceScore is the outcome of a multiple-choice task, as lm-eval computes it (api/task.py, 0.4.13). acc takes the choice
// with the highest log-likelihood; acc_norm that with the highest per character, which lm-eval counts in code points;
// acc_bytes per byte of UTF-8. A tie goes to the first.
type ChoiceScore struct {
	Acc, AccNorm, AccBytes float64 // shares of all examples
	Examples               int
}

// StdErr is the standard error of a share.
func (s ChoiceScore) StdErr(share float64) float64 {
	return math.Sqrt(share * (1 - share) / float64(max(1, s.Examples-1)))
}

// choiceRows is how many continuations are scored together, choiceStep what their length is rounded up to, so that few
// programs are compiled.
const choiceRows, choiceStep = 8, 32

// choiceWidth is the length that rows of n tokens are filled to.
func choiceWidth(n int) int { return (n + choiceStep - 1) / choiceStep * choiceStep }

// continuation is a query with one of its choices, as ids.
type continuation struct {
	ids     []int32
	scored  int // the last so many ids are the choice
	example int
	choice  int
}

// Choices scores every choice of every example.
func (s *Session) Choices(ctx context.Context, examples []data.ChoiceExample) (ChoiceScore, error) {
	sums, err := s.choiceSums(ctx, examples)
	if err != nil {
		return ChoiceScore{}, err
	}
	return choiceScore(examples, sums), nil
}

// choiceSums is, for every choice of every example, the sum of the log-probabilities of its tokens after the query and a
// space. Where a query is long enough to be worth it, it is computed once for all of its choices (prefix.go); other
// continuations are each computed with their own copy of it, those of like length together.
func (s *Session) choiceSums(ctx context.Context, examples []data.ChoiceExample) ([][]float64, error) {
	all, err := s.Base.continuations(examples)
	if err != nil {
		return nil, err
	}
	sums := make([][]float64, len(examples))
	for i, e := range examples {
		sums[i] = make([]float64, len(e.Choices))
	}
	questions, alone := sharing(all)
	slices.SortStableFunc(questions, func(a, b question) int { return a.prefix - b.prefix })
	for batch := range slices.Chunk(questions, choiceRows) {
		logp, err := s.scoreQuestions(ctx, batch)
		if err != nil {
			return nil, err
		}
		for _, q := range batch {
			logp = add(sums, q.list, logp)
		}
	}
	slices.SortStableFunc(alone, func(a, b continuation) int { return len(a.ids) - len(b.ids) })
	for batch := range slices.Chunk(alone, choiceRows) {
		logp, err := s.Score(ctx, choiceBatch(batch, s.Base.pad()))
		if err != nil {
			return nil, err
		}
		add(sums, batch, logp)
	}
	return sums, nil
}

// add adds the log-probabilities of continuations' scored tokens to their sums, and returns the rest.
func add(sums [][]float64, list []continuation, logp []float32) []float32 {
	for _, c := range list {
		for _, l := range logp[:c.scored] {
			sums[c.example][c.choice] += float64(l)
		}
		logp = logp[c.scored:]
	}
	return logp
}

// choiceScore picks choices.
func choiceScore(examples []data.ChoiceExample, sums [][]float64) ChoiceScore {
	out := ChoiceScore{Examples: len(examples)}
	for i, e := range examples {
		hit := func(length func(string) int) float64 {
			best, at := math.Inf(-1), 0
			for j, c := range e.Choices {
				if v := sums[i][j] / float64(length(c)); v > best {
					best, at = v, j
				}
			}
			if at == e.Gold {
				return 1 / float64(len(examples))
			}
			return 0
		}
		out.Acc += hit(func(string) int { return 1 })
		out.AccNorm += hit(utf8.RuneCountInString)
		out.AccBytes += hit(func(c string) int { return len(c) })
	}
	return out
}

// choiceBatch pads continuations to one length, and their number to choiceRows.
func choiceBatch(list []continuation, pad int32) data.Batch {
	longest := 0
	for _, c := range list {
		longest = max(longest, len(c.ids)-1) // the last id is only predicted
	}
	seq := choiceWidth(longest)
	b := data.Batch{Rows: choiceRows, Seq: seq, IDs: slices.Repeat([]int32{pad}, choiceRows*seq), Labels: slices.Repeat([]int32{-100}, choiceRows*seq)}
	for range choiceRows {
		for i := range seq {
			b.Positions = append(b.Positions, int32(i))
		}
	}
	for r, c := range list {
		n := len(c.ids) - 1
		copy(b.IDs[r*seq:], c.ids[:n])
		copy(b.Labels[r*seq+n-c.scored:r*seq+n], c.ids[len(c.ids)-c.scored:])
	}
	return b
}

// continuations tokenises every query with every choice as lm-eval does: one text, cut where the query's own tokens end;
// with the special tokens that the tokenizer puts around a text; and what is beyond the model's length cut off in front.
func (b *Base) continuations(examples []data.ChoiceExample) ([]continuation, error) {
	var out []continuation
	for i, e := range examples {
		query := strings.TrimRightFunc(e.Query, unicode.IsSpace)
		if query == "" {
			return nil, fmt.Errorf("%s: the query is empty", e.Origin)
		}
		before, err := b.Tokenizer.Encode(query, true)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Origin, err)
		}
		for j, choice := range e.Choices {
			whole, err := b.Tokenizer.Encode(e.Query+" "+choice, true)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.Origin, err)
			}
			c := continuation{ids: whole.IDs, scored: len(whole.IDs) - len(before.IDs), example: i, choice: j}
			if c.scored < 1 || choice == "" {
				return nil, fmt.Errorf("%s: choice %d, %q, has no tokens of its own after the query", e.Origin, j, choice)
			}
			if most := b.Decoder.MaxPositions + 1; len(c.ids) > most {
				c.ids = c.ids[len(c.ids)-most:]
			}
			if c.scored = min(c.scored, len(c.ids)-1); c.scored < 1 {
				return nil, fmt.Errorf("%s: nothing precedes choice %d", e.Origin, j)
			}
			out = append(out, c)
		}
	}
	return out, nil
}
