package rank

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"

	"gorun/model"
	"gorun/model/export"
	"gorun/model/weights"
)

// tuned is a base with an adapter's tables in the place of its own embedding and head.
type tuned struct {
	weights.Source
	from *export.Adapter // may be nil
}

// ReadRows writes rows of a tensor, as weights.Source does.
func (b tuned) ReadRows(name string, lo, hi int, as dtypes.DType, dst []byte) error {
	if b.from == nil || b.from.Table(name) == nil {
		return b.Source.ReadRows(name, lo, hi, as, dst)
	}
	t := b.from.Table(name)
	if lo < 0 || hi > t.Rows || lo > hi || len(dst) != (hi-lo)*t.Cols*as.Size() {
		return fmt.Errorf("rows %d to %d of the adapter's %s [%d, %d] into %d bytes", lo, hi, name, t.Rows, t.Cols, len(dst))
	}
	weights.Store(dst, as, t.Values[lo*t.Cols:hi*t.Cols])
	return nil
}

// magnitudes fills rows [lo, hi) of DoRA's magnitudes at the start: the lengths of the base's rows, with which the
// adapter, its B zero, changes nothing.
func (l *loader) magnitudes(p model.Param, lo, hi int, dst []byte) error {
	weight := p.Parts[0].Module() + ".weight"
	_, shape, ok := l.base.Info(weight)
	if !ok || len(shape) != 2 {
		return fmt.Errorf("the base has no %s", weight)
	}
	return p.Read(lo, hi, dst, func(_ string, lo, hi int, dst []byte) error {
		raw, row := make([]byte, 4*shape[1]), make([]float32, shape[1])
		for i := lo; i < hi; i++ {
			if err := l.base.ReadRows(weight, i, i+1, dtypes.Float32, raw); err != nil {
				return err
			}
			for j := range row {
				row[j] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*j:]))
			}
			binary.LittleEndian.PutUint32(dst[4*(i-lo):], math.Float32bits(export.Length(row)))
		}
		return nil
	})
}
