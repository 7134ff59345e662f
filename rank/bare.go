package rank

import (
	"fmt"

	"gorun/csrc/device"
	"gorun/fsdp"
	"gorun/model"
)

// Bare is the session's base without the adapter, on the same loaded weights: a view in which every B is zero. Close it
// before the session.
func (s *Session) Bare() (*Session, error) {
	b := &Session{Base: s.Base, dev: s.dev, model: s.model, state: s.state, zeros: [][]*device.Buffer{}}
	for _, g := range s.model.Groups() {
		list := make([]*device.Buffer, len(g.Params))
		b.zeros = append(b.zeros, list)
		for i, p := range g.Params {
			if p.Role != model.LoraB {
				continue
			}
			var err error
			if list[i], err = s.dev.Upload(make([]byte, p.Shape.Bytes()), p.Shape); err != nil {
				device.FreeAll(b.zeros...)
				return nil, fmt.Errorf("a base without its adapter: %w", err)
			}
		}
	}
	return b, nil
}

// params are the parameters that programs take in a pass.
func (s *Session) params(p *fsdp.Pass) model.Params {
	if s.zeros == nil {
		return p
	}
	return bareParams{p, s.zeros}
}

// bareParams hands out zeros in the place of every B.
type bareParams struct {
	*fsdp.Pass
	zeros [][]*device.Buffer // per group; nil where the parameter is no B
}

// Unshard returns group l's parameters.
func (b bareParams) Unshard(l int) []*device.Buffer {
	w := b.Pass.Unshard(l)
	if w == nil {
		return nil
	}
	out := append([]*device.Buffer(nil), w...)
	for i, z := range b.zeros[l] {
		if z != nil {
			out[i] = z
		}
	}
	return out
}
