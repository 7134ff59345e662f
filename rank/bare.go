package rank

import (
	"fmt"

	"gorun/csrc/device"
	"gorun/fsdp"
	"gorun/model"
)

// Bare is the session's base without the adapter, on the same loaded weights: a view in which the adapter is as it is
// before training. Close it before the session.
func (s *Session) Bare() (*Session, error) {
	b := &Session{Base: s.Base, dev: s.dev, model: s.model, state: s.state, world: s.world, bare: [][]*device.Buffer{}}
	fresh := loader{base: s.Base.Source}
	for _, g := range s.model.Groups() {
		list := make([]*device.Buffer, len(g.Params))
		b.bare = append(b.bare, list)
		for i, p := range g.Params {
			if p.Role == model.LoraA || p.Role == model.Base && !s.tables[p.Name] {
				continue
			}
			data := make([]byte, p.Shape.Bytes())
			err := fresh.fill(p)(0, p.Shape.Dims[0], data)
			if err == nil {
				list[i], err = s.dev.Upload(data, p.Shape)
			}
			if err != nil {
				device.FreeAll(b.bare...)
				return nil, fmt.Errorf("a base without its adapter: %w", err)
			}
		}
	}
	return b, nil
}

// params are the parameters that programs take in a pass.
func (s *Session) params(p *fsdp.Pass) model.Params {
	if s.bare == nil {
		return p
	}
	return bareParams{p, s.bare}
}

// bareParams hands out others in the place of what the adapter changes.
type bareParams struct {
	*fsdp.Pass
	others [][]*device.Buffer // per group; nil where the parameter stays
}

// Root returns the root group's parameters.
func (b bareParams) Root() []*device.Buffer {
	return replaced(b.Pass.Root(), b.others[len(b.others)-1])
}

// Unshard returns group l's parameters.
func (b bareParams) Unshard(l int) []*device.Buffer { return replaced(b.Pass.Unshard(l), b.others[l]) }

// replaced is w with others where there are any; nil stays nil.
func replaced(w, others []*device.Buffer) []*device.Buffer {
	if w == nil {
		return nil
	}
	out := append([]*device.Buffer(nil), w...)
	for i, o := range others {
		if o != nil {
			out[i] = o
		}
	}
	return out
}
