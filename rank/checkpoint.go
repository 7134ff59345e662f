package rank

import (
	"context"

	"gorun/fsdp"
	"gorun/model/export"
	"gorun/model/safetensors"
	"gorun/rank/ckpt"
)

// capture is everything that a checkpoint holds, read from all ranks' devices; without tensors on ranks but the first.
func (t *trainer) capture() (*ckpt.State, error) {
	s := &ckpt.State{
		Step: t.state.Steps(), Epoch: t.position.epoch, Samples: t.position.samples, EpochSamples: t.position.epochSamples, Tokens: t.position.tokens,
		Seed: t.recipe.RNG.Seed, BaseDigest: t.Base.Digest(), Version: t.opts.Version, Loss: t.position.loss,
		ValLoss: t.position.valLoss, BestVal: t.position.bestVal, Recipe: t.recipeText,
	}
	if !t.model.Config().Full {
		s.Adapter = t.describeAdapter()
	}
	layout, err := partsOf(t.model.Config())
	if err != nil {
		return nil, err
	}
	return s, t.state.Snapshot(t.world.leads(), func(x fsdp.Tensor) error {
		for _, kind := range []struct {
			data []byte
			to   *[]safetensors.Tensor
		}{{x.Data, &s.Params}, {x.M1, &s.Moment1}, {x.M2, &s.Moment2}} {
			list, err := layout.whole(x.Name, kind.data)
			if err != nil {
				return err
			}
			*kind.to = append(*kind.to, list...)
		}
		return nil
	})
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

// save writes a checkpoint and returns its path, on every rank once it is whole. Rank 0 writes; its format knows no
// shards, so any number of ranks can go on from it.
func (t *trainer) save(ctx context.Context) (path string, err error) {
	s, err := t.capture()
	if err != nil {
		return "", err
	}
	if t.world.leads() {
		if !t.recipe.Checkpoint.SaveOptimizer {
			s.Moment1, s.Moment2 = nil, nil
		}
		if path, err = t.dir.Save(ctx, s, ckpt.SaveOptions{Keep: t.recipe.Checkpoint.Keep}); err != nil {
			return "", err
		}
	}
	if path, err = t.world.fromLeader("the checkpoint's path", path); err != nil {
		return "", err
	}
	t.position.savedStep = s.Step
	t.world.events.tell(event{Event: "saved", Step: s.Step})
	return path, nil
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
