package model

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/hlo"
)

// How a weight gets into 8-bit floats when it is loaded: all of it at once, by Float8, or, where it is read in pieces of rows,
// by Float8Rows with the greatest magnitude of all pieces, and, of the rounded weight put together, columns by Float8Turned.
// Both ways give the same bytes.

// Float8 makes of a weight [out,in] in a wider dtype what the programs take: the weight, the same turned [in,out], and its
// unit [1]. It consumes the weight.
func (m *Model) Float8(weight *device.Buffer) ([]*device.Buffer, error) {
	defer weight.Free()
	s := weight.Shape()
	p, err := m.program(fmt.Sprint("float8 ", s), func() (device.Source, error) {
		return hlo.Build("float8", func(g *hlo.Graph) []hlo.Value {
			w := g.Input(s)
			f := g.Narrow(w, hlo.E4M3, g.Unit(g.MaxOver(g.Abs(g.F32(w)), 0, 1), hlo.E4M3))
			return []hlo.Value{f.Value, g.Transpose(f.Value, 1, 0), g.Reshape(f.Unit, 1)}
		})
	})
	if err != nil {
		return nil, err
	}
	return p.Execute(weight)
}

// Float8Rows rounds rows of a weight [r,in], in a wider dtype, of which nothing has a greater magnitude than most: to the rows
// in 8-bit floats and the weight's unit [1]. It consumes the rows.
func (m *Model) Float8Rows(rows *device.Buffer, most float32) ([]*device.Buffer, error) {
	defer rows.Free()
	s := rows.Shape()
	p, err := m.program(fmt.Sprint("float8 rows ", s), func() (device.Source, error) {
		return hlo.Build("float8_rows", func(g *hlo.Graph) []hlo.Value {
			w, most := g.Input(s), g.Input(device.MakeShape(dtypes.Float32))
			f := g.Narrow(w, hlo.E4M3, g.Unit(most, hlo.E4M3))
			return []hlo.Value{f.Value, g.Reshape(f.Unit, 1)}
		})
	})
	if err != nil {
		return nil, err
	}
	b, err := device.FromSlice(m.dev, dtypes.Float32, []float32{most})
	if err != nil {
		return nil, err
	}
	defer b.Free()
	return p.Execute(rows, b)
}

// Float8Turned is columns [lo, lo+n) of a weight in 8-bit floats [out,in] as rows [n,out]; beyond the weight's columns there
// are zeros.
func (m *Model) Float8Turned(weight *device.Buffer, lo, n int) (*device.Buffer, error) {
	s := weight.Shape()
	p, err := m.program(fmt.Sprint("float8 turned ", s, lo, n), func() (device.Source, error) {
		return hlo.Build("float8_turned", func(g *hlo.Graph) []hlo.Value {
			w := g.To(g.Input(s), dtypes.BFloat16) // the builder has no zeros of 8 bits
			w = g.Slice(g.Pad(w, 1, 0, max(0, lo+n-s.Dims[1])), 1, lo, lo+n)
			return []hlo.Value{g.To(g.Transpose(w, 1, 0), hlo.E4M3)}
		})
	})
	if err != nil {
		return nil, err
	}
	out, err := p.Execute(weight)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}
