package fsdp

import (
	"fmt"

	"gorun/collective"
	"gorun/csrc/device"
)

// Param is one parameter of a group. Trained ones are float32.
type Param struct {
	Name    string
	Shape   device.Shape
	Trained bool
}

// Maths runs the device programs that a pass needs. Lists of buffers are in the order of a group's trained parameters.
type Maths interface {
	// Add adds gradients to acc, which is consumed.
	Add(group int, acc, grads []*device.Buffer) ([]*device.Buffer, error)
	// Squares is the sum of the squares of gradients, a float32 scalar.
	Squares(group int, grads []*device.Buffer) (*device.Buffer, error)
	// Clip returns the factor for Update and the norm of the mean gradient, from all groups' squares.
	Clip(squares []*device.Buffer, tokens int, most float64) (scale, norm *device.Buffer, err error)
	// Hyper uploads the numbers of optimizer step number step (from 1).
	Hyper(step int, lr float64) (*device.Buffer, error)
	// Update consumes parameters and moments and returns the next ones.
	Update(group int, p, m1, m2, grads []*device.Buffer, hyper, scale *device.Buffer) (np, nm1, nm2 []*device.Buffer, err error)
}

// State is everything that this rank holds of the model: its shards of all parameters and, for trained ones, of the
// moments. The last group is the root group (embedding, final norm, head).
type State struct {
	comm   collective.Comm
	maths  Maths
	groups []*group
	steps  int // optimizer steps taken
}

type group struct {
	params  []Param
	shards  []*device.Buffer // this rank's shard of each parameter
	trained []int            // indexes of trained parameters
	m1, m2  []*device.Buffer // moments of trained parameters
}

// Fill writes rows [lo, hi) of a parameter, dense and row-major in the parameter's dtype, to dst.
type Fill func(lo, hi int, dst []byte) error

// New makes an empty state; Load fills it.
func New(comm collective.Comm, maths Maths, groups [][]Param) *State {
	s := &State{comm: comm, maths: maths}
	for _, params := range groups {
		g := &group{params: params, shards: make([]*device.Buffer, len(params))}
		for i, p := range params {
			if p.Trained {
				g.trained = append(g.trained, i)
			}
		}
		s.groups = append(s.groups, g)
	}
	return s
}

// Load uploads this rank's shard of parameter i of a group, asking fill for its rows only.
func (s *State) Load(dev *device.Client, groupIndex, i int, fill Fill) error {
	g := s.groups[groupIndex]
	p := g.params[i]
	data := make([]byte, p.Shape.Bytes())
	if err := fill(0, p.Shape.Dims[0], data); err != nil {
		return fmt.Errorf("fsdp: load %s: %w", p.Name, err)
	}
	b, err := dev.Upload(data, p.Shape)
	if err != nil {
		return fmt.Errorf("fsdp: load %s: %w", p.Name, err)
	}
	g.shards[i].Free()
	g.shards[i] = b
	return nil
}

// ZeroMoments starts the optimizer from nothing.
func (s *State) ZeroMoments(dev *device.Client) error {
	s.steps = 0
	for _, g := range s.groups {
		device.FreeAll(g.m1, g.m2)
		g.m1, g.m2 = nil, nil
		for _, i := range g.trained {
			zero := make([]byte, g.params[i].Shape.Bytes())
			for _, list := range []*[]*device.Buffer{&g.m1, &g.m2} {
				b, err := dev.Upload(zero, g.params[i].Shape)
				if err != nil {
					return fmt.Errorf("fsdp: moments of %s: %w", g.params[i].Name, err)
				}
				*list = append(*list, b)
			}
		}
	}
	return nil
}

// Tensor is a trained parameter with its moments, on the host; float32, row-major.
type Tensor struct {
	Param
	Data, M1, M2 []byte
}

// Snapshot downloads all trained parameters and their moments, waiting for the steps that make them.
func (s *State) Snapshot() (steps int, tensors []Tensor, err error) {
	for _, g := range s.groups {
		for j, i := range g.trained {
			t := Tensor{Param: g.params[i]}
			for _, c := range []struct {
				dst *[]byte
				src *device.Buffer
			}{{&t.Data, g.shards[i]}, {&t.M1, g.m1[j]}, {&t.M2, g.m2[j]}} {
				*c.dst = make([]byte, t.Shape.Bytes())
				if err := c.src.Download(*c.dst); err != nil {
					return 0, nil, fmt.Errorf("fsdp: read %s: %w", t.Name, err)
				}
			}
			tensors = append(tensors, t)
		}
	}
	return s.steps, tensors, nil
}

// Restore uploads what Snapshot returned; get finds a tensor by name.
func (s *State) Restore(dev *device.Client, steps int, get func(name string) (Tensor, error)) error {
	for _, g := range s.groups {
		if len(g.m1) != len(g.trained) {
			g.m1, g.m2 = make([]*device.Buffer, len(g.trained)), make([]*device.Buffer, len(g.trained))
		}
		for j, i := range g.trained {
			t, err := get(g.params[i].Name)
			if err != nil {
				return fmt.Errorf("fsdp: restore %s: %w", g.params[i].Name, err)
			}
			for _, c := range []struct {
				dst **device.Buffer
				src []byte
			}{{&g.shards[i], t.Data}, {&g.m1[j], t.M1}, {&g.m2[j], t.M2}} {
				b, err := dev.Upload(c.src, g.params[i].Shape)
				if err != nil {
					return fmt.Errorf("fsdp: restore %s: %w", g.params[i].Name, err)
				}
				(*c.dst).Free()
				*c.dst = b
			}
		}
	}
	s.steps = steps
	return nil
}

// Steps is the number of optimizer steps taken.
func (s *State) Steps() int { return s.steps }

// Close frees all buffers.
func (s *State) Close() {
	for _, g := range s.groups {
		device.FreeAll(g.shards, g.m1, g.m2)
	}
}
