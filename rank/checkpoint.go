package rank

import (
	"fmt"
	"slices"

	"gorun/fsdp"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/safetensors"
	"gorun/rank/ckpt"
)

// part is a tensor as checkpoints name it, and where it lies in a parameter: rows [lo, hi).
type part struct {
	name   string
	lo, hi int
}

// parts lists the tensors of a trained parameter: a fused one is several of the checkpoint's, stacked along axis 0.
func parts(p model.Param) []part {
	if p.Role != model.Base {
		return []part{{p.Name, 0, p.Shape.Dims[0]}}
	}
	var out []part
	lo := 0
	for _, x := range p.Parts {
		out = append(out, part{x.Tensor, lo, lo + x.Rows})
		lo += x.Rows
	}
	return out
}

// rows is the part's share of a parameter's bytes.
func (x part) rows(data []byte, p model.Param) []byte {
	width := len(data) / p.Shape.Dims[0]
	return data[x.lo*width : x.hi*width]
}

func (x part) tensor(data []byte, p model.Param) safetensors.Tensor {
	shape := slices.Clone(p.Shape.Dims)
	shape[0] = x.hi - x.lo
	return safetensors.Tensor{Name: x.name, DType: p.Shape.DType, Shape: shape, Data: x.rows(data, p)}
}

// trained maps names of trained parameters to their descriptions.
func trained(m *model.Model) map[string]model.Param {
	out := map[string]model.Param{}
	for _, g := range m.Groups() {
		for _, p := range g.Trainable() {
			out[p.Name] = p
		}
	}
	return out
}

// capture takes the run as it stands, on every rank; what rank 0 alone needs is empty on the others. One rank's tensors
// are read while it trains on; those of several are gathered first, since only the step's goroutine issues collectives.
func (t *trainer) capture() (c captured, err error) {
	c.state = &ckpt.State{
		Step: t.state.Steps(), Epoch: t.position.epoch, Samples: t.position.samples, EpochSamples: t.position.epochSamples, Tokens: t.position.tokens,
		Seed: t.recipe.RNG.Seed, BaseDigest: t.Base.Digest(), Version: t.opts.Version, Loss: t.position.loss,
		ValLoss: t.position.valLoss, BestVal: t.position.bestVal, Recipe: t.recipeText,
	}
	if t.world.job == nil {
		c.reading = t.state.Read()
		return c, nil
	}
	_, c.tensors, err = t.state.Snapshot(t.world.leads())
	return c, err
}

// fill adds the tensors to a state, under their names in checkpoints, and describes them.
func (t *trainer) fill(s *ckpt.State, tensors []fsdp.Tensor) {
	params := trained(t.model)
	for _, x := range tensors {
		p := params[x.Name]
		for _, at := range parts(p) {
			s.Params = append(s.Params, at.tensor(x.Data, p))
			s.Moment1 = append(s.Moment1, at.tensor(x.M1, p))
			s.Moment2 = append(s.Moment2, at.tensor(x.M2, p))
		}
	}
	if !t.model.Config().Full {
		s.Adapter = t.describeAdapter()
	}
}

// describeAdapter is the adapter without its values.
func (t *trainer) describeAdapter() *export.Adapter {
	c := t.recipe.PEFT
	a := &export.Adapter{Base: t.recipe.Model.PretrainedModelNameOrPath, Revision: t.recipe.Model.Revision, Dim: c.Dim, Alpha: float64(c.Alpha), Dropout: c.Dropout, RSLoRA: c.UseRSLora}
	if t.from != nil {
		a.Dim, a.Alpha, a.RSLoRA = t.from.Dim, t.from.Alpha, t.from.RSLoRA
	}
	own := t.model.Config().Adapters
	for l := range t.Base.Decoder.Layers {
		for _, lin := range t.Base.Decoder.Linears(l) {
			a.Linears = append(a.Linears, lin.Name)
			if x, ok := own[lin.Name]; ok {
				m := export.Module{Name: lin.Name, In: lin.In, Out: lin.Out, Dim: x.Dim, Alpha: a.Alpha}
				if t.from != nil {
					m.Alpha = alphaOf(t.from, lin.Name)
				}
				a.Modules = append(a.Modules, m)
			}
		}
	}
	a.Linears = append(a.Linears, t.Base.Decoder.Head().Name)
	return a
}

func alphaOf(a *export.Adapter, module string) float64 {
	for i := range a.Modules {
		if a.Modules[i].Name == module {
			return a.AlphaOf(&a.Modules[i])
		}
	}
	return a.Alpha
}

// restore puts a checkpoint's state on the device.
func (t *trainer) restore(s *ckpt.State) error {
	if err := s.CheckBase(t.Base.Digest()); err != nil {
		return err
	}
	index := func(list []safetensors.Tensor) map[string]safetensors.Tensor {
		out := map[string]safetensors.Tensor{}
		for _, x := range list {
			out[x.Name] = x
		}
		return out
	}
	data, m1, m2 := index(s.Params), index(s.Moment1), index(s.Moment2)
	params := trained(t.model)
	err := t.state.Restore(s.Step, func(name string) (fsdp.Tensor, error) {
		p := params[name]
		var x fsdp.Tensor
		for _, at := range parts(p) {
			for _, c := range []struct {
				from map[string]safetensors.Tensor
				to   *[]byte
			}{{data, &x.Data}, {m1, &x.M1}, {m2, &x.M2}} {
				saved, ok := c.from[at.name]
				if want := at.tensor(make([]byte, p.Shape.Bytes()), p); !ok || !slices.Equal(saved.Shape, want.Shape) || saved.DType != want.DType {
					return x, fmt.Errorf("the checkpoint's %s is missing or not of shape %v: the recipe's [peft] or model has changed; start afresh with checkpoint.resume = \"never\"", at.name, want.Shape)
				}
				*c.to = append(*c.to, saved.Data...)
			}
		}
		return x, nil
	})
	if err != nil {
		return err
	}
	t.position = position{
		epoch: s.Epoch, samples: s.Samples, epochSamples: s.EpochSamples, tokens: s.Tokens,
		loss: s.Loss, valLoss: s.ValLoss, bestVal: s.BestVal, savedStep: s.Step,
	}
	return nil
}
