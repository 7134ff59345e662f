package rank

import (
	"context"
	"fmt"
	"slices"

	"gorun/fsdp"
	"gorun/model"
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

// capture is everything that a checkpoint holds, read from all ranks' devices; without tensors on ranks but the first.
func (t *trainer) capture() (*ckpt.State, error) {
	steps, tensors, err := t.state.Snapshot(t.world.leads())
	if err != nil {
		return nil, err
	}
	s := &ckpt.State{
		Step: steps, Epoch: t.position.epoch, Samples: t.position.samples, EpochSamples: t.position.epochSamples, Tokens: t.position.tokens,
		Seed: t.recipe.RNG.Seed, BaseDigest: t.Base.Digest(), Version: t.opts.Version, Loss: t.position.loss,
		ValLoss: t.position.valLoss, BestVal: t.position.bestVal, Recipe: t.recipeText,
	}
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
		s.Adapter = t.job.Adapter
	}
	return s, nil
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
