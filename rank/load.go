package rank

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/gomlx/compute/dtypes"
	"golang.org/x/sync/errgroup"

	"gorun/csrc/device"
	"gorun/fsdp"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/hlo"
	"gorun/model/weights"
)

// groups describes the model's parameters to fsdp.
func groups(m *model.Model) []fsdp.Group {
	var out []fsdp.Group
	for _, g := range m.Groups() {
		to := fsdp.Group{Name: g.Name}
		for _, p := range g.Params {
			to.Params = append(to.Params, fsdp.Param{Name: p.Name, Shape: p.Shape, Trained: p.Trainable, Rate: p.Rate, Split: p.Split})
		}
		out = append(out, to)
	}
	return out
}

// loader fills the state from a checkpoint's weights and an adapter.
type loader struct {
	dev   *device.Client
	state *fsdp.State
	base  weights.Source
	from  *export.Adapter // nil = a fresh adapter
	init  string          // how fresh A are drawn
	seed  int64
}

// load uploads this rank's rows of every parameter, several at once: conversion and dequantisation keep all cores busy.
func (l *loader) load(m *model.Model) error {
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for g, group := range m.Groups() {
		for i, p := range group.Params {
			switch {
			case p.Role == model.Turned || p.Role == model.Unit: // made with the weight before them
			case p.Role == model.Base && p.Shape.DType == hlo.E4M3:
				work.Go(func() error { return l.float8(m, g, i, p) })
			default:
				work.Go(func() error { return l.state.Load(g, i, l.fill(p)) })
			}
		}
	}
	return work.Wait()
}

// float8 loads a weight that is kept in 8-bit floats, and the two parameters after it. Only one rank holds it all: the
// unit is of the whole weight.
func (l *loader) float8(m *model.Model, group, i int, p model.Param) error {
	p.Shape.DType = dtypes.BFloat16
	data := make([]byte, p.Shape.Bytes())
	if err := l.fill(p)(0, p.Shape.Dims[0], data); err != nil {
		return fmt.Errorf("load %s: %w", p.Name, err)
	}
	weight, err := l.dev.Upload(data, p.Shape)
	if err != nil {
		return fmt.Errorf("load %s: %w", p.Name, err)
	}
	made, err := m.Float8(weight)
	if err != nil {
		return fmt.Errorf("load %s: %w", p.Name, err)
	}
	var errs []error
	for n, b := range made {
		errs = append(errs, l.state.Put(group, i+n, b))
	}
	return errors.Join(errs...)
}

// fill reads a parameter's rows; of a part, those columns that are in it.
func (l *loader) fill(p model.Param) fsdp.Fill {
	base := tuned{l.base, l.from}
	rows := func(tensor string, lo, hi int, dst []byte) error {
		return base.ReadRows(tensor, lo, hi, p.Shape.DType, dst)
	}
	return func(lo, hi int, dst []byte) error {
		switch {
		case p.Role == model.Base:
			return p.Read(lo, hi, dst, rows)
		case p.Role == model.LoraM && l.from == nil:
			return l.magnitudes(p, lo, hi, dst)
		}
		v, err := l.adapter(p)
		if err != nil {
			return err
		}
		return p.Read(lo, hi, dst, func(_ string, lo, hi int, dst []byte) error {
			width := len(dst) / (hi - lo) / 4
			for i, f := range v[lo*width : hi*width] {
				binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(f))
			}
			return nil
		})
	}
}

// adapter is the initial value of a whole A or B, or the magnitudes of an adapter that is there: drawn or read whole on
// every rank, so that it is the same however the ranks divide it.
func (l *loader) adapter(p model.Param) ([]float32, error) {
	whole := p.Parts[0].Of
	if l.from != nil {
		for _, m := range l.from.Modules {
			if m.Name != p.Module {
				continue
			}
			v := map[model.Role][]float32{model.LoraA: m.A, model.LoraB: m.B, model.LoraM: m.Magnitude}[p.Role]
			size := 1
			for _, n := range whole {
				size *= n
			}
			if len(v) != size {
				return nil, fmt.Errorf("the adapter to start from has %d values for %s, want %v", len(v), p.Name, whole)
			}
			return v, nil
		}
		return nil, fmt.Errorf("the adapter to start from has no module %s", p.Module)
	}
	if p.Role == model.LoraB {
		return make([]float32, whole[0]*whole[1]), nil
	}
	return initA(l.init, l.seed, p.Module, whole[0], whole[1])
}
