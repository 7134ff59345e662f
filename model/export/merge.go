package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/spec"
	"gorun/model/weights"
)

// Merged is a base with an adapter added to its weights, row by row as they are read: nothing of it is in memory but the
// adapter. Several goroutines may read at once.
type Merged struct {
	Base   *weights.Model
	deltas map[string]delta  // by tensor
	tables map[string]*Table // by tensor: what stands in the base's place
}

// delta is what a module adds to its weight: scale * B A.
type delta struct {
	*Module
	dim   int
	scale float32
}

// Merge joins a base and an adapter; nil gives the base as it is. Every module must be a linear of the base with its
// sizes; all that are not are reported at once.
func Merge(base *weights.Model, a *Adapter) (*Merged, error) {
	m := &Merged{Base: base, deltas: map[string]delta{}, tables: map[string]*Table{}}
	if a == nil {
		return m, nil
	}
	if err := a.Fits(base.Decoder); err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	for i := range a.Modules {
		mod := &a.Modules[i]
		m.deltas[mod.Name+".weight"] = delta{mod, a.DimOf(mod), float32(a.Scaling(mod))}
	}
	for i := range a.Tables {
		if t := &a.Tables[i]; t.Name != spec.HeadTensor || !base.Decoder.TiedHead {
			m.tables[t.Name] = t
		}
	}
	return m, nil
}

// Fits reports every module that is no linear of the decoder, or has other sizes.
func (a *Adapter) Fits(d *spec.Decoder) error {
	linears := map[string]spec.Linear{}
	for layer := range d.Layers {
		for _, l := range d.Linears(layer) {
			linears[l.Name] = l
		}
	}
	if !d.TiedHead {
		linears[d.Head().Name] = d.Head()
	}
	var faults []error
	for i := range a.Modules {
		m := &a.Modules[i]
		l, ok := linears[m.Name]
		switch {
		case !ok && m.Name == d.Head().Name:
			faults = append(faults, fmt.Errorf("module %q: the base's head is its embedding, and an adapter on one would change the other", m.Name))
		case !ok:
			faults = append(faults, fmt.Errorf("module %q is no linear of this %s base: is it the base that the adapter was trained on?", m.Name, d.Family))
		case l.In != m.In || l.Out != m.Out:
			faults = append(faults, fmt.Errorf("module %q is [%d, %d], the base's linear [%d, %d]", m.Name, m.Out, m.In, l.Out, l.In))
		}
	}
	return errors.Join(append(faults, a.tableFaults(d)...)...)
}

// Rows writes rows lo to hi (exclusive) of a tensor, by its Hugging Face name, to dst as float32, the adapter's part
// added. The sum is made in float32 and rounded once, when it is stored, as PEFT's merge_and_unload does.
func (m *Merged) Rows(name string, lo, hi int, dst []float32) error {
	if t := m.tables[name]; t != nil {
		if lo < 0 || hi > t.Rows || len(dst) != (hi-lo)*t.Cols {
			return fmt.Errorf("rows %d to %d of %s [%d, %d] into %d values", lo, hi, name, t.Rows, t.Cols, len(dst))
		}
		copy(dst, t.Values[lo*t.Cols:hi*t.Cols])
		return nil
	}
	raw := make([]byte, 4*len(dst))
	if err := m.Base.ReadRows(name, lo, hi, dtypes.Float32, raw); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	d, ok := m.deltas[name]
	if !ok {
		return nil
	}
	for row := lo; row < hi; row++ {
		v := dst[(row-lo)*d.In : (row-lo+1)*d.In]
		d.add(row, v)
		if d.Magnitude != nil {
			stretch(v, d.Magnitude[row])
		}
	}
	return nil
}

// stretch gives a row the length that DoRA has learnt.
func stretch(v []float32, length float32) {
	by := length / Length(v)
	for i := range v {
		v[i] *= by
	}
}

// Length is a row's, as DoRA measures it.
func Length(v []float32) float32 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return float32(math.Sqrt(sum))
}

// add adds row number row of scale * B A [Out, In] to dst [In], four rows of A at a time.
func (d delta) add(row int, dst []float32) {
	b := d.B[row*d.dim : (row+1)*d.dim]
	r := 0
	for ; r+4 <= d.dim; r += 4 {
		b0, b1, b2, b3 := d.scale*b[r], d.scale*b[r+1], d.scale*b[r+2], d.scale*b[r+3]
		a0, a1, a2, a3 := d.a(r), d.a(r+1), d.a(r+2), d.a(r+3)
		for i := range dst {
			dst[i] += b0*a0[i] + b1*a1[i] + b2*a2[i] + b3*a3[i]
		}
	}
	for ; r < d.dim; r++ {
		scaled, a := d.scale*b[r], d.a(r)
		for i := range dst {
			dst[i] += scaled * a[i]
		}
	}
}

// a is row number r of A [Dim, In].
func (d delta) a(r int) []float32 { return d.A[r*d.In : (r+1)*d.In : (r+1)*d.In] }

// unmerged lists the modules and tables that no tensor of the base took: a broken invariant of Fits.
func (m *Merged) unmerged(tensors []spec.Tensor) error {
	left := map[string]bool{}
	for name := range m.deltas {
		left[name] = true
	}
	for name := range m.tables {
		left[name] = true
	}
	for _, t := range tensors {
		delete(left, t.Name)
	}
	if len(left) == 0 {
		return nil
	}
	var names []string
	for name := range left {
		names = append(names, name)
	}
	return fmt.Errorf("no tensor takes the adapter's %s", strings.Join(names, ", "))
}
