package main

import "gorun/model/spec"

// layout says how ranks divide a model and its samples: shard x replicate x tensor of them.
type layout struct {
	name                     string
	shard, replicate, tensor int
}

func (l layout) ranks() int { return l.shard * l.replicate * l.tensor }

// work is what a step does on each data-parallel rank.
type work struct {
	rows, seq int
	adapter   int  // dim of the adapters, on all projections
	again     bool // the backward pass computes the forward pass again
}

func (w work) tokens() float64 { return float64(w.rows * w.seq) }

// costs are what the parts of a step take, in seconds.
type costs struct {
	forward, backward, loss float64 // of a block and of the head, with their collectives
	inside                  float64 // collectives inside the programs of all blocks and of the head
	gather                  float64 // making a block's frozen weights whole
	adapters                float64 // and what is trained of it, once a step
	reduce                  float64 // a block's gradients, over all that hold parts of them or replicate them
	totals                  float64 // the sum of losses and squares

	takenGather, takenAdapters, takenReduce float64 // of the computing beside them
}

// cost measures the parts on paper.
func (c cluster) cost(d *spec.Decoder, l layout, w work) costs {
	t, tp := w.tokens(), float64(l.tensor)
	p := d.Params()
	block := float64(p.Linear-int64(d.Vocab)*int64(d.Hidden)) / float64(d.Layers)
	table := float64(d.Vocab) * float64(d.Hidden)
	attention := 2 * float64(d.Hidden) * float64(w.seq) // two products, half of them below the diagonal
	forward := t * (2*block + attention) / tp
	backward := t * (2*block + 2*attention) / tp // no gradients of weights; those of two products in attention
	grads := 4 * float64(spec.LoRAParams(d.Linears(0), w.adapter)) / tp

	shard := group{l.shard, max(1, min(l.shard, c.node/l.tensor))}
	replicate := group{l.replicate, max(1, c.node/(l.tensor*l.shard))}
	tensor := group{l.tensor, min(l.tensor, c.node)}
	stream := 2 * t * float64(d.Hidden)
	inside := 2 * c.allReduce(tensor, stream) // after attention and after the MLP; in the backward pass as many
	out := costs{
		forward:  forward/c.compute + inside,
		backward: backward/c.back + inside,
		loss:     t*4*table/tp/c.head + c.allReduce(tensor, stream),
		gather:   c.ring(shard, 2*block/tp),
		adapters: c.ring(shard, grads),
		reduce:   c.ring(shard, grads) + c.allReduce(replicate, grads/float64(l.shard)),
		totals:   c.allReduce(shard, 12) + c.allReduce(replicate, 8) + c.allReduce(tensor, 4),
	}
	out.takenAdapters, out.takenReduce = c.beside(out.adapters), c.beside(out.reduce)
	if shard.n > shard.inNode { // no copy engine reaches another machine
		out.takenGather = c.beside(out.gather)
	} else if shard.n > 1 {
		out.takenGather = 2 * block / tp / float64(shard.n) / c.own
	}
	if w.again {
		out.backward += out.forward
		inside *= 1.5
	}
	out.inside = 2*inside*float64(d.Layers) + 2*c.allReduce(tensor, stream)
	if tp > 1 {
		out.loss += c.allReduce(tensor, stream) // the embedding's
	}
	return out
}

// outcome is a step's length, what of it is communication that nothing hides, what communication takes from the computing
// that hides it, and bytes of weights on a rank.
type outcome struct {
	step, exposed, taken float64
	weights              float64
}

// simulate goes through a step as the trainer does, on two streams: programs on one, collectives on the other. A block's
// weights are gathered while the block before is at work, and not earlier: two blocks are whole at a time. The root group
// is not trained, and stays whole from step to step.
func (c cluster) simulate(d *spec.Decoder, l layout, w work) outcome {
	k := c.cost(d, l, w)
	var compute, comm, busy, freed, taken float64
	gather := func(takes float64) float64 { // once the memory of the block before last is free
		comm = max(comm, freed) + takes
		return comm
	}
	run := func(ready, takes, loses float64) {
		compute = max(compute, ready) + takes + loses
		busy += takes + loses
		taken += loses
	}
	ready := gather(k.gather + k.adapters)
	for range d.Layers - 1 {
		whole := ready
		ready = gather(k.gather + k.adapters)
		run(whole, k.forward, k.takenGather+k.takenAdapters)
		freed = compute
	}
	run(ready, k.forward, 0)
	run(0, k.loss, 0)
	ready = 0 // the last block is still whole
	for n := range d.Layers {
		whole, loses := ready, 0.0
		if n < d.Layers-1 {
			ready, loses = gather(k.gather), k.takenGather
		}
		if n > 0 {
			loses += k.takenReduce
		}
		run(whole, k.backward, loses)
		freed = compute
		comm = max(comm, compute) + k.reduce
	}
	end := max(compute, comm) + k.totals
	p := d.Params()
	whole := 2 * float64(p.Total) / float64(l.tensor)
	root := 4 * float64(d.Vocab) * float64(d.Hidden) / float64(l.tensor)
	weights := whole / float64(l.shard)
	if l.shard > 1 {
		weights += root + 2*(whole-root)/float64(d.Layers)
	}
	return outcome{step: end, exposed: end - busy + k.inside, taken: taken, weights: weights}
}
