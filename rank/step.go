package rank

import (
	"context"

	"gorun/fsdp"
	"gorun/model"
	"gorun/rank/data"
)

// step is one optimizer step over this rank's micro-batches: forward, loss, backward, one update. Nothing in it waits
// for the device; the outcome is read when it is wanted.
func (t *trainer) step(ctx context.Context, batch *data.Step, lr float64) (*fsdp.Step, error) {
	p := t.state.Begin(ctx)
	layers, root := t.model.Layers(), p.RootGroup()
	for i, mb := range batch.Micro {
		last := i == len(batch.Micro)-1
		r := t.model.Begin(t.microBatch(mb, batch.Step))
		r.Embed(p.Root())
		for l := 0; l < layers; l++ {
			w := p.Unshard(l)
			p.Prefetch(l + 1)
			r.Forward(l, w)
			p.ReshardAfterForward(l)
		}
		p.PrefetchBackward(layers - 1)
		loss, dHead := r.Loss(p.Root())
		p.AddLoss(loss, r.Valid())
		for l := layers - 1; l >= 0; l-- {
			w := p.UnshardBackward(l)
			p.PrefetchBackward(l - 1)
			dw := r.Backward(l, w)
			p.Reshard(l)
			p.Accumulate(l, dw)
			if last {
				p.ReduceScatter(l)
			}
		}
		p.Accumulate(root, r.EmbedBackward(dHead))
		if last {
			p.ReduceScatter(root)
		}
		p.Fail(r.End())
	}
	return p.Finish(lr, t.recipe.ClipGradNorm.MaxNorm)
}

// microBatch is what the model takes of a micro-batch. Dropout is keyed by seed, step and sample, so neither batching,
// packing nor sharding changes it.
func (t *trainer) microBatch(mb data.Batch, step int) model.Batch {
	b := model.Batch{Rows: mb.Rows, Seq: mb.Seq, IDs: mb.IDs, Positions: mb.Positions, Starts: mb.Starts, Labels: mb.Labels}
	if t.recipe.PEFT.Dropout > 0 {
		b.Keys = mb.Keys(func(sample int) uint32 { return dropoutKey(t.recipe.RNG.Seed, step, sample) })
	}
	return b
}

// dropoutKey mixes seed, step and sample into 32 bits (SplitMix64's finalizer).
func dropoutKey(seed int64, step, sample int) uint32 {
	x := uint64(seed)
	for _, v := range []uint64{uint64(step), uint64(sample)} {
		x = (x ^ v) + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return uint32(x >> 32)
}
