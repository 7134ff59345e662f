package rank

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"gorun/collective"
	"gorun/csrc/device"
	"gorun/fsdp"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/hlo"
	"gorun/model/weights"
)

// groups describes the model's parameters to fsdp, whose directions are model's by number.
func groups(m *model.Model) []fsdp.Group {
	var out []fsdp.Group
	for _, g := range m.Groups() {
		to := fsdp.Group{Name: g.Name}
		for _, p := range g.Params {
			to.Params = append(to.Params, fsdp.Param{Name: p.Name, Shape: p.Shape, Trained: p.Trainable, Rate: p.Rate, Split: p.Split, For: fsdp.Direction(p.For)})
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
	world *world
	shard collective.Comm // the ranks that shard every parameter

	modules map[string]*export.Module // of from, by name
	drafts  []*draft                  // what narrow is to go on with, in the order of parameters
}

// load uploads this rank's rows of every parameter, several at once: conversion and dequantisation keep all cores busy. What
// needs the other ranks waits for narrow.
func (l *loader) load(m *model.Model) error {
	if l.from != nil {
		l.modules = map[string]*export.Module{}
		for i := range l.from.Modules {
			l.modules[l.from.Modules[i].Name] = &l.from.Modules[i]
		}
	}
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for g, group := range m.Groups() {
		for i, p := range group.Params {
			switch {
			case p.Role == model.Turned || p.Role == model.Unit: // made with the weight before them
			case p.Role == model.Base && p.Shape.DType == hlo.E4M3 && l.hasAll(p):
				work.Go(func() error { return l.float8(m, g, i, p) })
			case p.Role == model.Base && p.Shape.DType == hlo.E4M3:
				d := &draft{param: p, group: g, i: i}
				l.drafts = append(l.drafts, d)
				work.Go(func() error { return d.read(l) })
			default:
				work.Go(func() error { return l.state.Load(g, i, l.fill(p)) })
			}
		}
	}
	return work.Wait()
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
		return p.Read(lo, hi, dst, func(tensor string, lo, hi int, dst []byte) error {
			part := p.Parts[slices.IndexFunc(p.Parts, func(x model.Part) bool { return x.Tensor == tensor })]
			v, err := l.adapter(p.Role, part)
			if err != nil {
				return err
			}
			width := len(dst) / (hi - lo) / 4
			for i, f := range v[lo*width : hi*width] {
				binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(f))
			}
			return nil
		})
	}
}

// adapter is the initial value of the whole A or B that a part is of, or the magnitudes of an adapter that is there: drawn
// or read whole on every rank, so that it is the same however the ranks divide it.
func (l *loader) adapter(role model.Role, part model.Part) ([]float32, error) {
	size := 1
	for _, n := range part.Of {
		size *= n
	}
	module := part.Module()
	if l.from != nil {
		m := l.modules[module]
		if m == nil {
			return nil, fmt.Errorf("the adapter to start from has no module %s", module)
		}
		v := map[model.Role][]float32{model.LoraA: m.A, model.LoraB: m.B, model.LoraM: m.Magnitude}[role]
		if len(v) != size {
			return nil, fmt.Errorf("the adapter to start from has %d values for %s, want %v", len(v), part.Tensor, part.Of)
		}
		return v, nil
	}
	if role == model.LoraB {
		return make([]float32, size), nil
	}
	return initA(l.init, l.seed, module, part.Of[0], part.Of[1])
}
