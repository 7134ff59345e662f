package model

import (
	"fmt"
	"strings"

	"gorun/csrc/device"
)

// Part is a block of a tensor of the checkpoint or of the adapter: Rows of its rows from number From on, and of those the
// columns that are here.
type Part struct {
	Tensor string
	Of     []int // the tensor's dims
	From   int
	Rows   int
	Col    int // first column; in a tensor of one axis there are none
	Cols   int // columns
}

// What follows a linear's name in the names of its adapter's tensors.
const (
	suffixA = ".lora_A.weight"
	suffixB = ".lora_B.weight"
	suffixM = ".lora_magnitude_vector"
)

// Module is the linear whose adapter the part is of.
func (p Part) Module() string {
	name, _, _ := strings.Cut(p.Tensor, ".lora_")
	return name
}

// whole is all of a tensor.
func whole(tensor string, dims ...int) Part { return Part{Rows: dims[0]}.of(tensor, dims...) }

// of is the part of rows p of a tensor, with all of its columns.
func (p Part) of(tensor string, dims ...int) Part {
	p.Tensor, p.Of, p.Col, p.Cols = tensor, dims, 0, 1
	if len(dims) > 1 {
		p.Cols = dims[1]
	}
	return p
}

// columns is the part with n columns from the given one on only.
func (p Part) columns(col, n int) Part {
	p.Col, p.Cols = col, n
	return p
}

// width is how many columns the whole tensor has.
func (p Part) width() int {
	if len(p.Of) > 1 {
		return p.Of[1]
	}
	return 1
}

// buffered is about how many bytes of whole rows Read holds at once.
const buffered = 4 << 20

// Read fills dst with rows [lo, hi) of the parameter, in its dtype. rows reads rows [lo, hi) of a tensor, all columns
// of them: nothing but what is here, or what shares its rows, is read.
func (p Param) Read(lo, hi int, dst []byte, rows func(tensor string, lo, hi int, dst []byte) error) error {
	size := p.Shape.Bytes() / max(1, p.Shape.Dims[0])
	if lo < 0 || hi > p.Shape.Dims[0] || len(dst) != (hi-lo)*size {
		return fmt.Errorf("model: rows %d to %d of %s %s into %d bytes", lo, hi, p.Name, p.Shape, len(dst))
	}
	clear(dst)
	return p.each(lo, hi, func(x Part, from, to, at int) error {
		return x.read(from, to, p.Shape.DType.Size(), dst[(at-lo)*size:(at-lo+to-from)*size], rows)
	})
}

// each calls f for every part with rows among [lo, hi) of the parameter: rows [from, to) of the part's tensor are the
// parameter's from row at on.
func (p Param) each(lo, hi int, f func(x Part, from, to, at int) error) error {
	start := 0
	for _, x := range p.Parts {
		first, last := max(lo, start), min(hi, start+x.Rows)
		if first < last {
			if err := f(x, x.From+first-start, x.From+last-start, first); err != nil {
				return err
			}
		}
		start += x.Rows
	}
	return nil
}

// read fills dst with what the part has of rows [lo, hi) of its tensor.
func (p Part) read(lo, hi, element int, dst []byte, rows func(tensor string, lo, hi int, dst []byte) error) error {
	width := p.width() * element
	if p.Cols == p.width() {
		return rows(p.Tensor, lo, hi, dst)
	}
	n, first := p.Cols*element, p.Col*element
	some := max(1, buffered/width)
	buffer := make([]byte, min(some, hi-lo)*width)
	for ; lo < hi; lo += some {
		b := buffer[:min(some, hi-lo)*width]
		if err := rows(p.Tensor, lo, lo+len(b)/width, b); err != nil {
			return err
		}
		for ; len(b) > 0; b, dst = b[width:], dst[n:] {
			copy(dst[:n], b[first:])
		}
	}
	return nil
}

// Write is the way back: it puts the parameter's data into whole tensors, which tensor returns the memory of, in the
// parameter's dtype. Written for every part of Split.Tensor, they are complete.
func (p Param) Write(data []byte, tensor func(name string, shape device.Shape) []byte) error {
	if len(data) != p.Shape.Bytes() {
		return fmt.Errorf("model: %s %s has %d bytes", p.Name, p.Shape, len(data))
	}
	element := p.Shape.DType.Size()
	return p.each(0, p.Shape.Dims[0], func(x Part, from, to, at int) error {
		out, width, n := tensor(x.Tensor, device.MakeShape(p.Shape.DType, x.Of...)), x.width()*element, x.Cols*element
		for r := from; r < to; r++ {
			copy(out[r*width+x.Col*element:], data[(at+r-from)*n:(at+r-from+1)*n])
		}
		return nil
	})
}
