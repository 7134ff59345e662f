package rank

import (
	"errors"
	"fmt"
	"strings"

	"gorun/fsdp"
	"gorun/model/safetensors"
	"gorun/rank/ckpt"
)

// captured is a run as it stands at a step. What the device holds of it is still on its way to the host.
type captured struct {
	state   *ckpt.State
	layout  parts
	reading *fsdp.Reading // nil: other ranks have all that this one does
	spool   *ckpt.Spool   // where state's tensors lie; nil: in memory
}

// capture takes the run as it stands, on every rank; each reads its own shards while it trains on. All weights of several
// ranks may be more than rank 0's memory, so it keeps them on disk.
func (t *trainer) capture() (c captured, err error) {
	c.state = &ckpt.State{
		Step: t.state.Steps(), Epoch: t.position.epoch, Samples: t.position.samples, EpochSamples: t.position.epochSamples, Tokens: t.position.tokens,
		Seed: t.recipe.RNG.Seed, BaseDigest: t.Base.Digest(), Version: t.opts.Version, Loss: t.position.loss,
		ValLoss: t.position.valLoss, BestVal: t.position.bestVal, Recipe: t.recipeText,
	}
	if !t.model.Config().Full {
		c.state.Adapter = t.job.Adapter
	}
	if c.layout, err = partsOf(t.model.Config()); err != nil {
		return c, err
	}
	if t.world.job != nil && t.world.leads() && t.model.Config().Full {
		if c.spool, err = t.dir.Spool(); err != nil {
			return c, err
		}
	}
	if t.world.saves() {
		c.reading = t.state.Read()
	}
	return c, nil
}

// close gives up what the state lies in.
func (c captured) close() error {
	if c.spool == nil {
		return nil
	}
	return c.spool.Close()
}

// add puts a parameter and its moments into the state, under their names in checkpoints.
func (c captured) add(x fsdp.Tensor) error {
	for _, kind := range []struct {
		data []byte
		to   *[]safetensors.Tensor
	}{{x.Data, &c.state.Params}, {x.M1, &c.state.Moment1}, {x.M2, &c.state.Moment2}} {
		list, err := c.layout.whole(x.Name, kind.data)
		for i := 0; c.spool != nil && i < len(list) && err == nil; i++ {
			list[i].Data, err = c.spool.Put(list[i].Data)
		}
		if err != nil {
			return err
		}
		*kind.to = append(*kind.to, list...)
	}
	return nil
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
	if errors.Is(err, errMisfit) {
		return fmt.Errorf("%w: %s, or begin afresh with checkpoint.resume = \"never\"", err, t.putBack())
	}
	if err != nil {
		return err
	}
	t.position = position{
		epoch: s.Epoch, samples: s.Samples, epochSamples: s.EpochSamples, tokens: s.Tokens,
		loss: s.Loss, valLoss: s.ValLoss, bestVal: s.BestVal, savedStep: s.Step,
	}
	return nil
}

// putBack says what of the recipe must be as it was for the checkpoint to fit.
func (t *trainer) putBack() string {
	var changed []string
	for _, c := range t.drift {
		if strings.HasPrefix(c.Key, "peft.") || strings.HasPrefix(c.Key, "model.") {
			changed = append(changed, c.String())
		}
	}
	if changed == nil {
		return "put the model and the recipe's [peft] back as they were"
	}
	return "put back what has changed (" + strings.Join(changed, "; ") + ")"
}
