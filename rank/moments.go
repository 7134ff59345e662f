package rank

import (
	"gorun/collective"
	"gorun/fsdp"
	"gorun/model"
)

// held is what a group of parameters takes: of one rank's part of the model whole, and sharded. Gradients are float32.
type held struct {
	whole, stays    int64 // whole what the backward pass reads, and of that what the forward pass has read too
	copied          int64 // of what the backward pass reads, shards of frozen parameters
	frozen, trained int64 // shards of frozen parameters, and of trained ones with moments
	grads, reduced  int64 // gradients whole, and their shards
}

// walk is how parameters and gradients come and go in a step. A moment of it is named by the block whose backward pass runs,
// while the one before that is on its way; root() stands for the loss.
type walk struct {
	groups  []held // the root group last
	sharded bool   // parameters, over several ranks
	keeps   bool   // what is trained stays whole during a pass
	reshard bool   // after the forward pass
	offload bool   // frozen shards lie in host memory
	sums    bool   // there are gradients of the micro-batches before
}

func (j *Job) walk() (w walk, err error) {
	d := j.Recipe.Distributed
	w = walk{sharded: j.Mesh.Size(collective.Shard, collective.Context) > 1, reshard: d.ReshardAfterForward, offload: d.CPUOffload, sums: j.Accum > 1}
	w.groups, w.keeps, err = j.held()
	return w, err
}

// root is the number of the root group.
func (w walk) root() int { return len(w.groups) - 1 }

// standing is what is there at any moment: shards of frozen parameters, unless they lie in host memory, and of trained ones
// with their moments.
func (w walk) standing() (base, trained int64) {
	for _, g := range w.groups {
		if !w.offload {
			base += g.frozen
		}
		trained += g.trained
	}
	return base, trained
}

// gathered is the parameters that are whole, and what has been copied from host memory.
func (w walk) gathered(l int) (sum int64) {
	for i, g := range w.groups {
		atWork := i == l || i == l-1 || i == w.root()
		switch {
		case atWork && w.sharded:
			sum += g.whole
		case w.sharded && !w.reshard && i < l:
			sum += g.stays
		case w.sharded && w.keeps:
			sum += g.grads // what is trained, as large as its gradients
		}
		if atWork && w.offload && (!w.sharded || i == l-1) { // of those that are whole, the copies are gone
			sum += g.copied
		}
	}
	return sum
}

// gradients is those of the root group and of the block at work, whole, this rank's shards of those of the blocks behind it,
// and the sums of the micro-batches before.
func (w walk) gradients(l int) (sum int64) {
	sum = w.groups[w.root()].grads
	if l < w.root() {
		sum += w.groups[l].grads
	}
	for i, g := range w.groups {
		switch {
		case l < i && i < w.root():
			sum += g.reduced
		case w.sums:
			sum += g.grads
		}
	}
	return sum
}

// held measures the groups, the root group last. keeps tells whether ranks that shard them keep what is trained whole
// during a pass: as much as its gradients.
func (j *Job) held() (out []held, keeps bool, err error) {
	m, err := model.New(nil, j.Config)
	if err != nil {
		return nil, false, err
	}
	n := j.Mesh.Size(collective.Shard, collective.Context)
	for _, g := range m.Groups() {
		var h held
		for _, p := range g.Params {
			whole, shard := int64(p.Shape.Bytes()), int64(collective.ShardShape(p.Shape, n).Bytes())
			if p.ReadBy(model.Backward) {
				h.whole += whole
			}
			if p.For == model.Both {
				h.stays += whole
			}
			if p.Trainable {
				h.trained += 3 * shard
				h.grads += whole
				h.reduced += shard
				continue
			}
			h.frozen += shard
			if p.ReadBy(model.Backward) {
				h.copied += shard
			}
		}
		out = append(out, h)
	}
	return out, fsdp.KeepsTrained(groups(m)), nil
}
