package rank

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/fsdp"
	"gorun/model"
	"gorun/model/safetensors"
)

// parts describes the trained parameters by name, as each part of the tensor axis has them.
type parts []map[string]model.Param

// partsOf lays the model out once for every part.
func partsOf(cfg model.Config) (parts, error) {
	out := make(parts, max(1, cfg.Split.Tensor.Parts))
	for i := range out {
		cfg.Split.Tensor.Index = i
		m, err := model.New(nil, cfg)
		if err != nil {
			return nil, err
		}
		out[i] = map[string]model.Param{}
		for _, g := range m.Groups() {
			for _, p := range g.Trainable() {
				out[i][p.Name] = p
			}
		}
	}
	return out, nil
}

// whole puts a trained parameter's values, of all its parts one behind the other, together to the tensors that
// checkpoints have: several for a fused parameter.
func (l parts) whole(name string, data []byte) (out []safetensors.Tensor, err error) {
	tensor := func(name string, s device.Shape) []byte {
		i := slices.IndexFunc(out, func(x safetensors.Tensor) bool { return x.Name == name })
		if i < 0 {
			i, out = len(out), append(out, safetensors.Tensor{Name: name, DType: s.DType, Shape: s.Dims, Data: make([]byte, s.Bytes())})
		}
		return out[i].Data
	}
	for i := 0; len(data) > 0 && i < len(l); i++ {
		p := l[i][name]
		n := min(len(data), p.Shape.Bytes())
		if err := p.Write(data[:n], tensor); err != nil {
			return nil, err
		}
		data = data[n:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("%s has %d bytes more than its %d parts", name, len(data), len(l))
	}
	return out, nil
}

// tensors are whole tensors of a checkpoint by name.
type tensors map[string]safetensors.Tensor

func byName(list []safetensors.Tensor) tensors {
	out := tensors{}
	for _, x := range list {
		out[x.Name] = x
	}
	return out
}

// rows copies rows [lo, hi) of a tensor to dst.
func (x tensors) rows(name string, lo, hi int, dst []byte) error {
	t := x[name]
	if n := len(t.Data) / t.Shape[0]; copy(dst, t.Data[lo*n:hi*n]) != len(dst) {
		return fmt.Errorf("rows %d to %d of %s %v into %d bytes", lo, hi, name, t.Shape, len(dst))
	}
	return nil
}

// errMisfit says that a checkpoint is not of what is trained.
var errMisfit = errors.New("the checkpoint does not fit")

// fill reads what is here of a trained parameter, or says that the checkpoint does not have it.
func (x tensors) fill(p model.Param) (fsdp.Fill, error) {
	for _, at := range p.Parts {
		if saved, ok := x[at.Tensor]; !ok || !slices.Equal(saved.Shape, at.Of) || saved.DType != dtypes.Float32 {
			return nil, fmt.Errorf("%w: its %s is missing or not of shape %v", errMisfit, at.Tensor, at.Of)
		}
	}
	return func(lo, hi int, dst []byte) error { return p.Read(lo, hi, dst, x.rows) }, nil
}
