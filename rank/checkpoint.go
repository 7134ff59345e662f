package rank

import (
	"errors"

	"gorun/fsdp"
	"gorun/model/export"
	"gorun/model/safetensors"
	"gorun/rank/ckpt"
)

// captured is a run as it stands at a step. What the device holds of it may still be on its way to the host.
type captured struct {
	state   *ckpt.State
	layout  parts
	reading *fsdp.Reading // nil: all of it is in state
}

// capture takes the run as it stands, on every rank; without tensors on ranks but the first. One rank's tensors are read
// while it trains on; those of several are gathered first, since only the step's goroutine issues collectives.
func (t *trainer) capture() (c captured, err error) {
	c.state = &ckpt.State{
		Step: t.state.Steps(), Epoch: t.position.epoch, Samples: t.position.samples, EpochSamples: t.position.epochSamples, Tokens: t.position.tokens,
		Seed: t.recipe.RNG.Seed, BaseDigest: t.Base.Digest(), Version: t.opts.Version, Loss: t.position.loss,
		ValLoss: t.position.valLoss, BestVal: t.position.bestVal, Recipe: t.recipeText,
	}
	if !t.model.Config().Full {
		c.state.Adapter = t.describeAdapter()
	}
	if c.layout, err = partsOf(t.model.Config()); err != nil {
		return c, err
	}
	if t.world.job == nil {
		c.reading = t.state.Read()
		return c, nil
	}
	return c, errors.Join(t.state.Snapshot(t.world.leads(), c.add), t.world.err())
}

// add puts a parameter and its moments into the state, under their names in checkpoints.
func (c captured) add(x fsdp.Tensor) error {
	for _, kind := range []struct {
		data []byte
		to   *[]safetensors.Tensor
	}{{x.Data, &c.state.Params}, {x.M1, &c.state.Moment1}, {x.M2, &c.state.Moment2}} {
		list, err := c.layout.whole(x.Name, kind.data)
		if err != nil {
			return err
		}
		*kind.to = append(*kind.to, list...)
	}
	return nil
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
	layout, err := partsOf(t.model.Config())
	if err != nil {
		return err
	}
	here := layout[t.model.Config().Split.Tensor.Index]
	data, m1, m2 := byName(s.Params), byName(s.Moment1), byName(s.Moment2)
	err = t.state.Restore(s.Step, func(name string) (from fsdp.Saved, err error) {
		for _, c := range []struct {
			from tensors
			to   *fsdp.Fill
		}{{data, &from.Data}, {m1, &from.M1}, {m2, &from.M2}} {
			if *c.to, err = c.from.fill(here[name]); err != nil {
				return from, err
			}
		}
		return from, nil
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
