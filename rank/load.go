package rank

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"gorun/fsdp"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/weights"
)

// groups describes the model's parameters to fsdp.
func groups(m *model.Model) []fsdp.Group {
	var out []fsdp.Group
	for _, g := range m.Groups() {
		to := fsdp.Group{Name: g.Name}
		for _, p := range g.Params {
			to.Params = append(to.Params, fsdp.Param{Name: p.Name, Shape: p.Shape, Trained: p.Trainable, Rate: p.Rate})
		}
		out = append(out, to)
	}
	return out
}

// loader fills the state from a checkpoint's weights and an adapter.
type loader struct {
	state *fsdp.State
	base  weights.Source
	from  *export.Adapter // nil = a fresh adapter
	init  string          // how fresh A are drawn
	seed  int64
}

// load uploads this rank's part of every parameter, several at once: conversion and dequantisation keep all cores busy.
func (l *loader) load(m *model.Model) error {
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for g, group := range m.Groups() {
		for i, p := range group.Params {
			work.Go(func() error { return l.state.Load(g, i, l.fill(p)) })
		}
	}
	return work.Wait()
}

func (l *loader) fill(p model.Param) fsdp.Fill {
	if p.Role != model.Base {
		return func(lo, hi int, dst []byte) error {
			if p.Role == model.LoraM && l.from == nil {
				return l.magnitudes(p, lo, hi, dst)
			}
			v, err := l.adapter(p)
			if err != nil {
				return err
			}
			width := p.Shape.Size() / p.Shape.Dims[0]
			for i, f := range v[lo*width : hi*width] {
				binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(f))
			}
			return nil
		}
	}
	return func(lo, hi int, dst []byte) error { return readParts(tuned{l.base, l.from}, p, lo, hi, dst) }
}

// readParts reads rows [lo, hi) of tensors stacked along axis 0.
func readParts(base weights.Source, p model.Param, lo, hi int, dst []byte) error {
	rowBytes := p.Shape.Bytes() / p.Shape.Dims[0]
	start := 0
	for _, part := range p.Parts {
		from, to := max(lo, start), min(hi, start+part.Rows)
		if from < to {
			if err := base.ReadRows(part.Tensor, from-start, to-start, p.Shape.DType, dst[(from-lo)*rowBytes:(to-lo)*rowBytes]); err != nil {
				return err
			}
		}
		start += part.Rows
	}
	return nil
}

// adapter is the initial value of A, of B, or of the magnitudes of an adapter that is there.
func (l *loader) adapter(p model.Param) ([]float32, error) {
	if l.from != nil {
		for _, m := range l.from.Modules {
			if m.Name != p.Module {
				continue
			}
			switch p.Role {
			case model.LoraA:
				return m.A, nil
			case model.LoraB:
				return m.B, nil
			}
			return m.Magnitude, nil
		}
		return nil, fmt.Errorf("the adapter to start from has no module %s", p.Module)
	}
	if p.Role == model.LoraB {
		return make([]float32, p.Shape.Size()), nil
	}
	return initA(l.init, l.seed, p.Module, p.Shape.Dims[0], p.Shape.Dims[1])
}
