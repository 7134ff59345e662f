package model_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model"
)

// TestPart: rows and columns that are read of tensors are written back to the same places, however many rows are asked
// for at once.
func TestPart(t *testing.T) {
	const wide = 1 << 20 // rows of 4 MiB: more than are read at once
	for _, p := range []model.Param{
		{Name: "rows", Shape: device.MakeShape(dtypes.Float32, 5, 3), Parts: []model.Part{ // and a row of zeros
			{Tensor: "a", Of: []int{6, 3}, From: 1, Rows: 2, Cols: 3}, {Tensor: "b", Of: []int{2, 3}, Rows: 2, Cols: 3},
		}},
		{Name: "columns", Shape: device.MakeShape(dtypes.Float32, 3, 2), Parts: []model.Part{{Tensor: "a", Of: []int{3, 6}, Rows: 3, Col: 4, Cols: 2}}},
		{Name: "vector", Shape: device.MakeShape(dtypes.Float32, 2), Parts: []model.Part{{Tensor: "a", Of: []int{6}, From: 3, Rows: 2, Cols: 1}}},
		{Name: "wide", Shape: device.MakeShape(dtypes.Float32, 3, wide/2), Parts: []model.Part{{Tensor: "a", Of: []int{3, wide}, Rows: 3, Col: wide / 2, Cols: wide / 2}}},
	} {
		t.Run(p.Name, func(t *testing.T) {
			all := readByRows(t, p)
			whole := map[string][]byte{}
			if err := p.Write(all, func(name string, shape device.Shape) []byte {
				if whole[name] == nil {
					whole[name] = make([]byte, shape.Bytes())
				}
				return whole[name]
			}); err != nil {
				t.Fatal(err)
			}
			for _, x := range p.Parts {
				checkWritten(t, x, whole[x.Tensor])
			}
		})
	}
}

// pattern is a tensor whose every byte tells where it is.
func pattern(name string, lo, hi int, dst []byte) error {
	row := len(dst) / (hi - lo)
	for i := range dst {
		dst[i] = byte(i%row*7 + (lo+i/row)*31 + int(name[0]))
	}
	return nil
}

// readByRows reads a parameter of patterns as a whole, and holds each row read alone to that.
func readByRows(t *testing.T, p model.Param) []byte {
	t.Helper()
	n, row := p.Shape.Dims[0], p.Shape.Bytes()/p.Shape.Dims[0]
	all := make([]byte, p.Shape.Bytes())
	if err := p.Read(0, n, all, pattern); err != nil {
		t.Fatal(err)
	}
	for lo := range n {
		one := bytes.Repeat([]byte{9}, row)
		if err := p.Read(lo, lo+1, one, pattern); err != nil || !bytes.Equal(one, all[lo*row:(lo+1)*row]) {
			t.Errorf("row %d alone differs, %v", lo, err)
		}
	}
	return all
}

// checkWritten holds a tensor that a part was written to to the pattern there, and to nothing elsewhere.
func checkWritten(t *testing.T, x model.Part, got []byte) {
	t.Helper()
	want := make([]byte, len(got))
	if err := pattern(x.Tensor, 0, x.Of[0], want); err != nil {
		t.Fatal(err)
	}
	line, first, last := len(want)/x.Of[0], 4*x.Col, 4*(x.Col+x.Cols)
	for r := range x.Of[0] {
		here := make([]byte, line)
		if r >= x.From && r < x.From+x.Rows {
			copy(here[first:last], want[r*line+first:])
		}
		if !bytes.Equal(got[r*line:(r+1)*line], here) {
			t.Errorf("row %d of %s is not what was read", r, x.Tensor)
		}
	}
}

// TestPartFaults: the reader's error comes out, and sizes that do not fit are refused.
func TestPartFaults(t *testing.T) {
	p := model.Param{Name: "x", Shape: device.MakeShape(dtypes.Float32, 2), Parts: []model.Part{{Tensor: "a", Of: []int{2}, Rows: 2, Cols: 1}}}
	gone := errors.New("gone")
	if err := p.Read(0, 2, make([]byte, 8), func(string, int, int, []byte) error { return fmt.Errorf("a: %w", gone) }); !errors.Is(err, gone) {
		t.Errorf("%v, want the reader's error", err)
	}
	if p.Read(0, 3, make([]byte, 12), nil) == nil || p.Read(0, 2, make([]byte, 4), nil) == nil || p.Write(make([]byte, 4), nil) == nil {
		t.Error("sizes that do not fit are accepted")
	}
}
