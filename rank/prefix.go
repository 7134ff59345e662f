package rank

import (
	"context"
	"slices"

	"gorun/model"
)

// question is the continuations of one example, which begin with the same tokens.
type question struct {
	list   []continuation
	prefix int // how many tokens are computed for all of them: none that predicts a scored one is among these
}

// leastPrefix is the shortest prefix that is computed apart: a shorter one is not worth a pass of its own, since rows are
// filled to a multiple of choiceStep anyway.
const leastPrefix = choiceStep

// sharing parts continuations, in the order of their examples, into questions that have a prefix worth sharing and the
// rest.
func sharing(all []continuation) (questions []question, alone []continuation) {
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].example == all[0].example {
			n++
		}
		q := question{list: all[:n], prefix: sharedPrefix(all[:n])}
		if n > 1 && q.prefix >= leastPrefix {
			questions = append(questions, q)
		} else {
			alone = append(alone, q.list...)
		}
		all = all[n:]
	}
	return questions, alone
}

// sharedPrefix is how many tokens all continuations begin with alike, before the one that predicts the first scored
// token of any. It is less than the query where a choice changes how the query's end is tokenised, or where choices of
// different lengths lost different fronts.
func sharedPrefix(list []continuation) int {
	first := list[0].ids
	n := len(first)
	for _, c := range list {
		n = min(n, len(c.ids)-c.scored-1)
		for i := range n {
			if c.ids[i] != first[i] {
				n = i
				break
			}
		}
	}
	return n
}

// scoreQuestions runs each question's prefix once and its choices against that, and returns the log-probabilities of all
// scored tokens in order.
func (s *Session) scoreQuestions(ctx context.Context, list []question) ([]float32, error) {
	p := s.state.Begin(ctx)
	logp, err := s.branches(s.params(p), list)
	p.Fail(err)
	return logp, p.Close()
}

func (s *Session) branches(p model.Params, list []question) ([]float32, error) {
	ids, positions, capacity := prefixBatch(list, s.Base.pad())
	d, err := s.model.NewDecoding(choiceRows, capacity)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := d.Fill(p, ids, positions); err != nil {
		return nil, err
	}
	return d.Score(p, branchBatch(list, s.Base.pad()))
}

// prefixBatch are the prefixes [choiceRows, width], and the positions that the questions need.
func prefixBatch(list []question, pad int32) (ids, positions []int32, capacity int) {
	width := 0
	for _, q := range list {
		width = max(width, q.prefix)
		for _, c := range q.list {
			capacity = max(capacity, len(c.ids)-1) // the last id is only predicted
		}
	}
	width, capacity = choiceWidth(width), choiceWidth(capacity)
	ids = slices.Repeat([]int32{pad}, choiceRows*width)
	for r, q := range list {
		copy(ids[r*width:], q.list[0].ids[:q.prefix])
	}
	for i := range ids {
		positions = append(positions, int32(i%width))
	}
	return ids, positions, capacity
}

// branchBatch are the continuations after the prefixes, those of a question side by side in its row. Rows are filled with
// tokens that see only themselves.
func branchBatch(list []question, pad int32) model.Batch {
	longest := 0
	for _, q := range list {
		n := 0
		for _, c := range q.list {
			n += len(c.ids) - 1 - q.prefix
		}
		longest = max(longest, n)
	}
	seq := choiceWidth(longest)
	n := choiceRows * seq
	b := model.Batch{
		Rows: choiceRows, Seq: seq, IDs: slices.Repeat([]int32{pad}, n), Positions: make([]int32, n),
		Starts: make([]int32, n), Labels: slices.Repeat([]int32{-100}, n),
	}
	for i := range n {
		b.Starts[i] = int32(i % seq)
	}
	for r, q := range list {
		at := r * seq
		for _, c := range q.list {
			start, own := int32(at%seq), c.ids[q.prefix:]
			for i, id := range own[:len(own)-1] {
				b.IDs[at], b.Positions[at], b.Starts[at] = id, int32(q.prefix+i), start
				if len(own)-1-i <= c.scored {
					b.Labels[at] = own[i+1]
				}
				at++
			}
		}
	}
	return b
}
