package fsdp

import (
	"errors"
	"fmt"

	"gorun/csrc/device"
)

// Step is the outcome of a pass, still on the device.
type Step struct {
	loss, tokens, norm *device.Buffer // float32 scalars, over all ranks
}

// Outcome is a step's numbers over all ranks and micro-batches.
type Outcome struct {
	Loss   float64 // mean over valid tokens
	Norm   float64 // of the mean gradient
	Tokens int     // valid tokens; exact up to 2^24
}

// Finish divides the sums once by the number of valid tokens of all ranks, clips to the norm most (0 = no clipping) and
// leaves this rank's shards to be updated, each before it is next needed. It waits for nothing on a device of its own:
// Step.Read does.
func (p *Pass) Finish(lr, most float64) (*Step, error) {
	defer p.free()
	p.settle()
	for from := range p.s.lots() { // of lots whose first group has no gradients
		p.square(from)
	}
	p.Fail(p.s.bringAll()) // of the step before, where this pass did not need a group
	if p.failed() {
		return nil, p.err
	}
	squares, step, err := p.totals()
	if err != nil {
		return nil, err
	}
	defer squares.Free()
	if err := p.update(step, squares, lr, most); err != nil {
		step.free()
		return nil, err
	}
	return step, nil
}

// totals sums squares, losses and valid tokens over groups, micro-batches and ranks. Ranks that replicate each other hold
// the same gradients, so only losses and tokens are summed over them; those of Tensor have the same losses and tokens,
// so only squares are.
func (p *Pass) totals() (squares *device.Buffer, step *Step, err error) {
	var parts []*device.Buffer // in the order of groups, so that the sum is the same whatever came first
	for _, sq := range p.squares {
		if sq != nil {
			parts = append(parts, sq)
		}
	}
	step = &Step{}
	defer func() {
		if err != nil {
			squares.Free()
			step.free()
		}
	}()
	losses := p.losses
	p.squares, p.losses = nil, nil
	if squares, err = p.s.sum(parts); err != nil {
		device.FreeAll(losses)
		return squares, step, fmt.Errorf("gradient norm: %w", err)
	}
	if step.loss, err = p.s.sum(losses); err != nil {
		return squares, step, fmt.Errorf("loss: %w", err)
	}
	if step.tokens, err = p.s.dev.Scalar(float32(p.tokens)); err != nil {
		return squares, step, err
	}
	if p.s.ranks.Shard.Size() > 1 {
		sums, err := p.s.ranks.Shard.AllReduce("totals", []*device.Buffer{squares, step.loss, step.tokens})
		if err != nil {
			return squares, step, err
		}
		device.FreeAll([]*device.Buffer{squares, step.loss, step.tokens})
		squares, step.loss, step.tokens = sums[0], sums[1], sums[2]
	}
	if p.s.ranks.Replicate.Size() > 1 {
		sums, err := p.s.ranks.Replicate.AllReduce("totals", []*device.Buffer{step.loss, step.tokens})
		if err != nil {
			return squares, step, err
		}
		step.free()
		step.loss, step.tokens = sums[0], sums[1]
	}
	if p.s.ranks.Tensor.Size() > 1 {
		sums, err := p.s.ranks.Tensor.AllReduce("squares", []*device.Buffer{squares})
		if err != nil {
			return squares, step, err
		}
		squares.Free()
		squares = sums[0]
	}
	return squares, step, nil
}

// counted picks of a group's reduced gradients those whose squares this rank adds to the sum over Tensor: what all of
// these hold counts once, on the first.
func (s *State) counted(g *group, reduced []*device.Buffer) (out []*device.Buffer) {
	for j, b := range reduced {
		if s.ranks.Tensor.Rank() == 0 || g.params[g.trained[j]].Split {
			out = append(out, b)
		}
	}
	return out
}

// update says what the step is that groups are to be brought to.
func (p *Pass) update(step *Step, squares *device.Buffer, lr, most float64) error {
	s := p.s
	scale, norm, err := s.maths.Clip(squares, step.tokens, most)
	if err != nil {
		return fmt.Errorf("clip: %w", err)
	}
	step.norm = norm
	hyper, err := s.maths.Hyper(s.steps+1, lr)
	if err != nil {
		scale.Free()
		return err
	}
	s.update = &update{p.reduced, hyper, scale}
	p.reduced = make([][]*device.Buffer, len(s.groups))
	s.steps++
	return nil
}

// errNoTokens says that there was nothing to train on.
var errNoTokens = errors.New("fsdp: a step without a single supervised token: check the data set's labels")

// Read waits for the step.
func (s *Step) Read() (o Outcome, err error) {
	defer s.free()
	var v [3]float32
	for i, b := range []*device.Buffer{s.loss, s.tokens, s.norm} {
		if v[i], err = b.ToScalar(); err != nil {
			return o, err
		}
	}
	if v[1] == 0 {
		return o, errNoTokens
	}
	return Outcome{Loss: float64(v[0]) / float64(v[1]), Norm: float64(v[2]), Tokens: int(v[1])}, nil
}

func (s *Step) free() {
	device.FreeAll([]*device.Buffer{s.loss, s.tokens, s.norm})
}
