package rank

import (
	"fmt"
	"strings"

	"gorun/model"
)

// kernels says which pieces of the blocks gorun's own kernels compute in micro-batches of a shape and which XLA does, or why
// it does all.
func (j *Job) kernels(s model.Shape) string {
	switch refused := j.Config.KernelsRefused(); {
	case j.Config.Target != model.CUDA:
		return "none (they are for NVIDIA GPUs)"
	case refused != nil:
		return fmt.Sprintf("none (%v)", refused)
	case !j.Config.Kernels:
		return "none (model.kernels)"
	}
	blocks, err := j.Config.Pieces(s)
	if err != nil {
		return fmt.Sprintf("none (%v)", err)
	}
	pieces := []struct {
		name string
		by   func(model.Pieces) bool
	}{
		{"norms", func(p model.Pieces) bool { return p.Norms }},
		{"rotary", func(p model.Pieces) bool { return p.Rotary }},
		{"gated MLP", func(p model.Pieces) bool { return p.Gated }},
	}
	var ours, others []string
	for _, piece := range pieces {
		n := 0
		for _, b := range blocks {
			if piece.by(b) {
				n++
			}
		}
		switch n {
		case 0:
			others = append(others, piece.name)
		case len(blocks):
			ours = append(ours, piece.name)
		default:
			ours = append(ours, fmt.Sprintf("%s (%d of %d blocks)", piece.name, n, len(blocks)))
		}
	}
	text := strings.Join(append(ours, "optimizer"), ", ")
	if others != nil {
		text += "; by XLA: " + strings.Join(others, ", ")
	}
	return text
}
