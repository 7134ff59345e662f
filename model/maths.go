package model

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	"golang.org/x/sync/errgroup"

	"gorun/csrc/device"
)

// Maths runs the programs that turn gradients into updates, group by group. Groups that look alike share programs.
type Maths struct {
	m   *Model
	opt Optimizer
}

// Maths returns the optimizer's programs for this model.
func (m *Model) Maths(opt Optimizer) *Maths { return &Maths{m, opt} }

func (t *Maths) trained(group int) []Param { return t.m.Groups()[group].Trainable() }

// run executes the program made by build for the trained parameters of a group.
func (t *Maths) run(name string, group int, build func([]Param) (device.Source, error), args ...*device.Buffer) ([]*device.Buffer, error) {
	p, err := t.program(name, group, build)
	if err != nil {
		return nil, err
	}
	return p.Execute(args...)
}

func (t *Maths) program(name string, group int, build func([]Param) (device.Source, error)) (*device.Program, error) {
	params := t.trained(group)
	return t.m.program(name+shapeKey(params), func() (device.Source, error) { return build(params) })
}

// prepare compiles the programs of a step without gradient accumulation.
func (t *Maths) prepare(g *errgroup.Group) {
	trained := 0
	for group, list := range t.m.Groups() {
		if len(list.Trainable()) == 0 {
			continue
		}
		trained++
		g.Go(func() error { _, err := t.program("squares", group, buildSquares); return err })
		g.Go(func() error { _, err := t.program("update", group, t.buildUpdate); return err })
	}
	g.Go(func() error { _, err := t.clip(trained); return err })
}

func (t *Maths) buildUpdate(params []Param) (device.Source, error) { return buildUpdate(t.opt, params) }

func (t *Maths) clip(n int) (*device.Program, error) {
	return t.m.program(fmt.Sprint("clip ", n), func() (device.Source, error) { return buildClip(n) })
}

// Add adds gradients to acc, which is donated.
func (t *Maths) Add(group int, acc, grads []*device.Buffer) ([]*device.Buffer, error) {
	return t.run("add", group, buildAdd, append(append([]*device.Buffer(nil), acc...), grads...)...)
}

// Squares returns the sum of the squares of a group's gradients, a float32 scalar.
func (t *Maths) Squares(group int, grads []*device.Buffer) (*device.Buffer, error) {
	out, err := t.run("squares", group, buildSquares, grads...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// Clip returns the factor that turns sums of gradients into what Update uses, and the norm of the mean gradient:
// tokens is what to divide by, most the greatest norm (0 = no clipping).
func (t *Maths) Clip(squares []*device.Buffer, tokens int, most float64) (scale, norm *device.Buffer, err error) {
	p, err := t.clip(len(squares))
	if err != nil {
		return nil, nil, err
	}
	mean, err := t.m.dev.Scalar(float32(1 / float64(tokens)))
	if err != nil {
		return nil, nil, err
	}
	defer mean.Free()
	limit, err := t.m.dev.Scalar(float32(most))
	if err != nil {
		return nil, nil, err
	}
	defer limit.Free()
	out, err := p.Execute(append(append([]*device.Buffer(nil), squares...), mean, limit)...)
	if err != nil {
		return nil, nil, err
	}
	return out[0], out[1], nil
}

// Hyper uploads the numbers of one optimizer step; steps count from 1.
func (t *Maths) Hyper(step int, lr float64) (*device.Buffer, error) {
	h := make([]float32, hyperCount)
	h[hyperLR] = float32(lr)
	h[hyperBias1] = float32(1 - math.Pow(t.opt.Beta1, float64(step)))
	h[hyperBias2] = float32(1 - math.Pow(t.opt.Beta2, float64(step)))
	return device.FromSlice(t.m.dev, dtypes.Float32, h, hyperCount)
}

// Update turns parameters p and moments m1, m2 of a group, all donated, into the next ones.
func (t *Maths) Update(group int, p, m1, m2, grads []*device.Buffer, hyper, scale *device.Buffer) (np, nm1, nm2 []*device.Buffer, err error) {
	args := make([]*device.Buffer, 0, 4*len(p)+2)
	for _, l := range [][]*device.Buffer{p, m1, m2, grads} {
		args = append(args, l...)
	}
	out, err := t.run("update", group, t.buildUpdate, append(args, hyper, scale)...)
	if err != nil {
		return nil, nil, nil, err
	}
	n := len(p)
	return out[:n], out[n : 2*n], out[2*n:], nil
}
