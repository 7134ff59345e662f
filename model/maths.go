package model

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	"golang.org/x/sync/errgroup"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// Maths runs the programs that turn gradients into updates, on tensors of any shape. Lists of the same shapes share
// programs.
type Maths struct {
	m   *Model
	opt Optimizer
}

// Maths returns the optimizer's programs for this model.
func (m *Model) Maths(opt Optimizer) *Maths { return &Maths{m, opt} }

// run executes the program that build makes for tensors of the shapes of like.
func (t *Maths) run(name string, like []*device.Buffer, build func([]device.Shape) (device.Source, error), args ...*device.Buffer) ([]*device.Buffer, error) {
	shapes := make([]device.Shape, len(like))
	for i, b := range like {
		shapes[i] = b.Shape()
	}
	p, err := t.program(name, shapes, build)
	if err != nil {
		return nil, err
	}
	return p.Execute(args...)
}

func (t *Maths) program(name string, shapes []device.Shape, build func([]device.Shape) (device.Source, error)) (*device.Program, error) {
	return t.m.program(name+shapeKey(shapes), func() (device.Source, error) { return build(shapes) })
}

// prepare compiles the programs of a step without gradient accumulation for lists of trained parameters, none empty.
func (t *Maths) prepare(g *errgroup.Group, trained [][]device.Shape, rates [][]float64) {
	for i, shapes := range trained {
		g.Go(func() error { _, err := t.program("squares", shapes, t.buildSquares); return err })
		g.Go(func() error { _, err := t.program(updateName(rates[i]), shapes, t.updater(rates[i])); return err })
	}
	if len(trained) > 1 {
		g.Go(func() error { _, err := t.sum(len(trained)); return err })
	}
	g.Go(func() error { _, err := t.m.program("clip", buildClip); return err })
}

func (t *Maths) buildSquares(shapes []device.Shape) (device.Source, error) {
	return buildSquares(shapes, t.m.cfg.Kernels)
}

func (t *Maths) updater(rates []float64) func([]device.Shape) (device.Source, error) {
	return func(shapes []device.Shape) (device.Source, error) {
		return buildUpdate(t.opt, shapes, rates, t.m.cfg.Kernels)
	}
}

// updateName tells the programs of different rates apart.
func updateName(rates []float64) string { return fmt.Sprint("update ", rates) }

func (t *Maths) sum(n int) (*device.Program, error) {
	return t.m.program(fmt.Sprint("sum ", n), func() (device.Source, error) { return buildSum(n) })
}

// Together is how many tensors one launch of gorun's kernels takes; without them nothing is gained by more.
func (t *Maths) Together() int {
	if t.m.cfg.Kernels {
		return kernels.MostTensors
	}
	return 0
}

// Add adds gradients to acc, which is donated.
func (t *Maths) Add(acc, grads []*device.Buffer) ([]*device.Buffer, error) {
	return t.run("add", grads, buildAdd, append(append([]*device.Buffer(nil), acc...), grads...)...)
}

// Squares returns the sum of the squares of gradients, a float32 scalar.
func (t *Maths) Squares(grads []*device.Buffer) (*device.Buffer, error) {
	out, err := t.run("squares", grads, t.buildSquares, grads...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// Sum returns the sum of float32 scalars.
func (t *Maths) Sum(values []*device.Buffer) (*device.Buffer, error) {
	p, err := t.sum(len(values))
	if err != nil {
		return nil, err
	}
	out, err := p.Execute(values...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// Clip returns the factor that turns sums of gradients into what Update uses, and the norm of the mean gradient: tokens
// is what to divide by, most the greatest norm (0 = no clipping).
func (t *Maths) Clip(squares, tokens *device.Buffer, most float64) (scale, norm *device.Buffer, err error) {
	p, err := t.m.program("clip", buildClip)
	if err != nil {
		return nil, nil, err
	}
	limit, err := t.m.dev.Scalar(float32(most))
	if err != nil {
		return nil, nil, err
	}
	defer limit.Free()
	out, err := p.Execute(squares, tokens, limit)
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

// Update turns parameters p and moments m1, m2, all donated, into the next ones; rates are their learning rates as
// multiples of hyper's.
func (t *Maths) Update(p, m1, m2, grads []*device.Buffer, rates []float64, hyper, scale *device.Buffer) (np, nm1, nm2 []*device.Buffer, err error) {
	args := make([]*device.Buffer, 0, 4*len(p)+2)
	for _, l := range [][]*device.Buffer{p, m1, m2, grads} {
		args = append(args, l...)
	}
	out, err := t.run(updateName(rates), p, t.updater(rates), append(args, hyper, scale)...)
	if err != nil {
		return nil, nil, nil, err
	}
	n := len(p)
	return out[:n], out[n : 2*n], out[2*n:], nil
}
