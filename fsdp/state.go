package fsdp

import (
	"fmt"

	"gorun/collective"
	"gorun/csrc/device"
)

// Param is one parameter of a group, whole. Trained ones are float32.
type Param struct {
	Name    string
	Shape   device.Shape // of at least one dimension
	Trained bool
	Rate    float64   // of a trained one: its learning rate as a multiple of the run's
	Split   bool      // the ranks of Ranks.Tensor hold different parts of it, of one shape; else all hold the same
	For     Direction // which passes read it; both read what is trained
}

// Group is a set of parameters that are whole together.
type Group struct {
	Name   string // "block 7"
	Params []Param
}

// Ranks says among which ranks a state lies, and where on a rank.
type Ranks struct {
	Shard               collective.Comm // every parameter is Shard(0) over these
	Replicate           collective.Comm // these hold the same shard, and reduce its gradients among them
	Tensor              collective.Comm // these hold the parts of every parameter with Param.Split, and see the same samples
	ReshardAfterForward bool            // free a group after its forward pass and gather it again for the backward pass
	Offload             bool            // keep shards of frozen parameters in host memory, and copy them to the device for each gathering
}

// Alone is the Ranks of one rank.
var Alone = Ranks{collective.Solo{}, collective.Solo{}, collective.Solo{}, true, false}

// Maths runs the device programs that a pass needs, on tensors of any shape. Gradients are float32.
type Maths interface {
	// Together is how many tensors Squares and Update take in one launch; 0 = one launch is as good as several.
	Together() int
	// Add adds gradients to acc, which is consumed.
	Add(acc, grads []*device.Buffer) ([]*device.Buffer, error)
	// Squares is the sum of the squares of gradients, a float32 scalar.
	Squares(grads []*device.Buffer) (*device.Buffer, error)
	// Sum is the sum of float32 scalars.
	Sum(values []*device.Buffer) (*device.Buffer, error)
	// Clip returns the factor for Update and the norm of the mean gradient, from the sum of all squares and the number
	// to divide by; most is the greatest norm (0 = no clipping).
	Clip(squares, tokens *device.Buffer, most float64) (scale, norm *device.Buffer, err error)
	// Hyper uploads the numbers of optimizer step number step (from 1).
	Hyper(step int, lr float64) (*device.Buffer, error)
	// Update consumes parameters and moments and returns the next ones. rates are the parameters' learning rates as
	// multiples of hyper's.
	Update(p, m1, m2, grads []*device.Buffer, rates []float64, hyper, scale *device.Buffer) (np, nm1, nm2 []*device.Buffer, err error)
}

// State is everything that this rank holds of the model: its shards of all parameters and, for trained ones, of the
// moments. A parameter of which there are parts is whole here with this rank's part. The last group is the root group (embedding, final norm, head).
//
// A shard is the rows of collective.Part, filled with zero rows to collective.ShardShape, so that all ranks run the same
// programs. Zero rows have zero gradients and stay zero.
type State struct {
	dev    *device.Client
	ranks  Ranks
	maths  Maths
	groups []*group
	span   int // groups of a lot
	steps  int // optimizer steps taken

	keepsTrained bool // of a group that is made whole, what is trained stays so for the length of the pass

	update  *update          // of the last step; nil = all groups have it
	root    []*device.Buffer // the root group whole, once it was gathered, if nothing of it is trained
	reading *Reading         // under way; nil = none
}

type group struct {
	name    string
	params  []Param
	whole   []device.Shape   // of each parameter
	shards  []*device.Buffer // this rank's shard of each parameter
	trained []int            // indexes of trained parameters
	rates   []float64        // of trained parameters
	m1, m2  []*device.Buffer // moments of trained parameters
}

// Fill writes rows [lo, hi) of a parameter, dense and row-major in the parameter's dtype, to dst.
type Fill func(lo, hi int, dst []byte) error

// New makes an empty state; Load fills it.
func New(dev *device.Client, ranks Ranks, maths Maths, groups []Group) *State {
	s := &State{dev: dev, ranks: ranks, maths: maths}
	for _, from := range groups {
		g := &group{name: from.Name, params: from.Params, shards: make([]*device.Buffer, len(from.Params))}
		for i, p := range from.Params {
			g.whole = append(g.whole, p.Shape)
			if p.Trained {
				g.trained, g.rates = append(g.trained, i), append(g.rates, p.Rate)
			}
		}
		s.groups = append(s.groups, g)
	}
	s.span = span(s.groups, maths.Together())
	s.keepsTrained = ranks.Shard.Size() > 1 && KeepsTrained(groups)
	return s
}

// KeepsTrained tells whether ranks that shard groups make what is trained whole once a pass, and keep it so, rather than
// for each time that a group is needed: if all of it is no more than one group is. So it is with adapters. Two blocks of
// frozen parameters are whole at any time; that is then the room of a third.
func KeepsTrained(groups []Group) bool {
	trained, most := 0, 0
	for _, g := range groups[:len(groups)-1] {
		for _, p := range g.Params {
			if p.Trained {
				trained += p.Shape.Bytes()
			}
		}
		most = max(most, g.whole(Forward), g.whole(Backward))
	}
	return 0 < trained && trained <= most
}

// whole is the bytes of what a pass of a direction reads of the group.
func (g Group) whole(d Direction) (bytes int) {
	for _, p := range g.Params {
		if p.readBy(d) {
			bytes += p.Shape.Bytes()
		}
	}
	return bytes
}

// ZeroMoments starts the optimizer from nothing.
func (s *State) ZeroMoments() error {
	if err := s.bringAll(); err != nil {
		return fmt.Errorf("fsdp: %w", err)
	}
	s.settle(len(s.groups) - 1)
	s.steps = 0
	zero := func(int, int, []byte) error { return nil }
	for _, g := range s.groups {
		device.FreeAll(g.m1, g.m2)
		g.m1, g.m2 = nil, nil
		for _, i := range g.trained {
			for _, list := range []*[]*device.Buffer{&g.m1, &g.m2} {
				b, err := s.upload(g.params[i], zero)
				if err != nil {
					return fmt.Errorf("fsdp: moments of %s: %w", g.params[i].Name, err)
				}
				*list = append(*list, b)
			}
		}
	}
	return nil
}

// Steps is the number of optimizer steps taken.
func (s *State) Steps() int { return s.steps }

// Close frees all buffers.
func (s *State) Close() {
	s.settle(len(s.groups) - 1)
	s.dropUpdate()
	device.FreeAll(s.root)
	for _, g := range s.groups {
		device.FreeAll(g.shards, g.m1, g.m2)
	}
}
