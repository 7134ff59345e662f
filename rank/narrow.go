package rank

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model"
)

// Weights in 8-bit floats. A weight has one unit, whoever holds it: that of its greatest magnitude. A rank that has all of a
// weight rounds it when it has read it. Of several, each reads its rows, in bfloat16, and their greatest magnitude; one
// exchange tells all ranks those of all weights; then weight after weight is rounded, gathered in 8-bit floats, and each rank
// turns the columns that it holds. So every byte of the base is read by the ranks that hold it alone, no rank holds more than
// one whole weight, and all bytes are those of one rank.

// hasAll tells whether this rank has all of a weight of the base.
func (l *loader) hasAll(p model.Param) bool { return l.shard.Size() == 1 && !p.Split }

// float8 loads a weight that this rank has all of, and the two parameters after it.
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
	return l.put(group, i, made...)
}

// put gives the state the shards of a group's parameters from number i on.
func (l *loader) put(group, i int, shards ...*device.Buffer) error {
	var errs []error
	for n, b := range shards {
		errs = append(errs, l.state.Put(group, i+n, b))
	}
	return errors.Join(errs...)
}

// draft is this rank's rows of a weight of which other ranks have more.
type draft struct {
	param    model.Param
	group, i int
	rows     *device.Buffer // in bfloat16
	most     float32        // no number of theirs is greater
}

// read reads the draft of a parameter; several may be read at once.
func (d *draft) read(l *loader) (err error) {
	p := d.param
	p.Shape.DType = dtypes.BFloat16
	fill := l.fill(p)
	d.rows, err = l.state.Draft(d.group, d.i, dtypes.BFloat16, func(lo, hi int, dst []byte) error {
		err := fill(lo, hi, dst)
		d.most = greatest(dst)
		return err
	})
	return err
}

// greatest is the greatest magnitude among numbers in bfloat16.
func greatest(data []byte) float32 {
	most := uint16(0) // without their signs, bits are in the order of magnitudes
	for ; len(data) >= 2; data = data[2:] {
		most = max(most, binary.LittleEndian.Uint16(data)&0x7fff)
	}
	return math.Float32frombits(uint32(most) << 16)
}

// narrow makes the parameters of all drafts, one after the other. All ranks call it together.
func (l *loader) narrow(m *model.Model) error {
	most := make([]float64, len(l.drafts))
	for n, d := range l.drafts {
		most[n] = float64(d.most)
	}
	most, err := l.world.greatest("the greatest magnitudes of weights", most)
	if err != nil {
		return err
	}
	for n, d := range l.drafts {
		if err := d.narrow(l, m, float32(most[n])); err != nil {
			return fmt.Errorf("load %s: %w", d.param.Name, err)
		}
	}
	return nil
}

// narrow makes of a draft the shards of the weight, of the weight turned, and of its unit, most being the greatest magnitude
// in all of it.
func (d *draft) narrow(l *loader, m *model.Model, most float32) error {
	rows, err := l.state.Fetch(d.rows)
	d.rows = nil
	if err != nil {
		return err
	}
	made, err := m.Float8Rows(rows, most)
	if err != nil {
		return err
	}
	turned, err := d.turned(l, m, made[:1])
	if err != nil {
		device.FreeAll(made)
		return err
	}
	return l.put(d.group, d.i, made[0], turned, made[1])
}

// turned is this rank's shard of a weight turned, from its shard of the weight.
func (d *draft) turned(l *loader, m *model.Model, shard []*device.Buffer) (*device.Buffer, error) {
	whole, err := l.shard.AllGather(d.param.Name, shard, []device.Shape{d.param.Shape})
	if err != nil {
		return nil, err
	}
	if whole[0] != shard[0] {
		defer device.FreeAll(whole)
	}
	lo, _, s := l.state.Part(d.group, d.i+1)
	return m.Float8Turned(whole[0], lo, s.Dims[0])
}

// free gives up drafts that nothing was made of.
func (l *loader) free() {
	for _, d := range l.drafts {
		d.rows.Free()
	}
}
