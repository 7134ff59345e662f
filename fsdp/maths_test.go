package fsdp

import (
	"encoding/binary"
	"math"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
)

// hostMaths is Maths on the host, with the plainest optimizer: p - lr*scale*g. Moments count gradients and squares.
type hostMaths struct {
	dev      *device.Client
	together int
}

func read(b *device.Buffer) ([]float32, error) { return device.ToSlice[float32](b) }

func (m hostMaths) write(like *device.Buffer, v []float32) (*device.Buffer, error) {
	return device.FromSlice(m.dev, dtypes.Float32, v, like.Shape().Dims...)
}

// each makes one tensor out of those at the same place of several lists.
func (m hostMaths) each(f func(x []float32) float32, lists ...[]*device.Buffer) ([]*device.Buffer, error) {
	out := make([]*device.Buffer, len(lists[0]))
	for i := range out {
		in := make([][]float32, len(lists))
		for l := range lists {
			var err error
			if in[l], err = read(lists[l][i]); err != nil {
				return nil, err
			}
		}
		result, x := make([]float32, len(in[0])), make([]float32, len(lists))
		for k := range result {
			for l := range in {
				x[l] = in[l][k]
			}
			result[k] = f(x)
		}
		var err error
		if out[i], err = m.write(lists[0][i], result); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (m hostMaths) Together() int { return m.together }

func (m hostMaths) Add(acc, grads []*device.Buffer) ([]*device.Buffer, error) {
	defer device.FreeAll(acc)
	return m.each(func(x []float32) float32 { return x[0] + x[1] }, acc, grads)
}

func (m hostMaths) Squares(grads []*device.Buffer) (*device.Buffer, error) {
	var total float32
	for _, g := range grads {
		v, err := read(g)
		if err != nil {
			return nil, err
		}
		for _, f := range v {
			total += f * f
		}
	}
	return m.dev.Scalar(total)
}

func (m hostMaths) Sum(values []*device.Buffer) (*device.Buffer, error) {
	var total float32
	for _, b := range values {
		v, err := b.ToScalar()
		if err != nil {
			return nil, err
		}
		total += v
	}
	return m.dev.Scalar(total)
}

func (m hostMaths) Clip(squares, tokens *device.Buffer, _ float64) (scale, norm *device.Buffer, err error) {
	s, err := squares.ToScalar()
	if err != nil {
		return nil, nil, err
	}
	n, err := tokens.ToScalar()
	if err != nil {
		return nil, nil, err
	}
	if scale, err = m.dev.Scalar(1 / n); err != nil {
		return nil, nil, err
	}
	norm, err = m.dev.Scalar(float32(math.Sqrt(float64(s))) / n)
	return scale, norm, err
}

func (m hostMaths) Hyper(_ int, lr float64) (*device.Buffer, error) {
	return m.dev.Scalar(float32(lr))
}

func (m hostMaths) Update(p, m1, m2, grads []*device.Buffer, rates []float64, hyper, scale *device.Buffer) (np, nm1, nm2 []*device.Buffer, err error) {
	lr, err := hyper.ToScalar()
	if err != nil {
		return nil, nil, nil, err
	}
	by, err := scale.ToScalar()
	if err != nil {
		return nil, nil, nil, err
	}
	defer device.FreeAll(p, m1, m2)
	for i, rate := range rates {
		next, err := m.each(func(x []float32) float32 { return x[0] - float32(rate)*lr*by*x[1] }, p[i:i+1], grads[i:i+1])
		if err != nil {
			return nil, nil, nil, err
		}
		np = append(np, next...)
	}
	if nm1, err = m.each(func(x []float32) float32 { return x[0] + x[1] }, m1, grads); err != nil {
		return nil, nil, nil, err
	}
	nm2, err = m.each(func(x []float32) float32 { return x[0] + x[1]*x[1] }, m2, grads)
	return np, nm1, nm2, err
}

// count fills a parameter with small integers that depend on the row.
func count(width int) Fill {
	return func(lo, hi int, dst []byte) error {
		for i := range (hi - lo) * width {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(float32((lo*width+i)%13-6)))
		}
		return nil
	}
}
