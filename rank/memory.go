package rank

import (
	"fmt"
	"strings"

	"gorun/collective"
	"gorun/fsdp"
	"gorun/model"
)

// memory is what one rank's device holds at one moment of a step, in bytes.
type memory struct {
	base        int64 // this rank's shards of frozen parameters, unless they lie in host memory
	trained     int64 // and of trained ones with their two moments
	gathered    int64 // parameters made whole, or copied from host memory: the root group, and blocks at work or next
	gradients   int64
	activations int64 // what forward passes have kept for backward passes
	working     int64 // scratch of the program that runs
	ahead       int64 // activations that are freed but still used, by a device that the host is ahead of
}

func (m memory) total() int64 {
	return m.base + m.trained + m.gathered + m.gradients + m.activations + m.working + m.ahead
}

// String names what there is.
func (m memory) String() string {
	var out []string
	for _, part := range []struct {
		name  string
		bytes int64
	}{{"base", m.base}, {"trained", m.trained}, {"gathered", m.gathered}, {"gradients", m.gradients}, {"activations", m.activations}, {"working", m.working}, {"ahead", m.ahead}} {
		if part.bytes > 0 {
			out = append(out, fmt.Sprintf("%s %.2f", part.name, float64(part.bytes)/gib))
		}
	}
	return strings.Join(out, ", ")
}

// ahead is how many blocks' activations a GPU's allocator has not had back when the host asks it for more: on an H100 as much as
// 1 block of Llama-3-8B keeps, and 2 of Llama-3.2-1B.
const ahead = 2

// held is what a group of parameters takes: of one rank's part of the model whole, and sharded. Gradients are float32.
type held struct {
	whole, stays    int64 // whole what the backward pass reads, and of that what the forward pass has read too
	copied          int64 // of what the backward pass reads, shards of frozen parameters
	frozen, trained int64 // shards of frozen parameters, and of trained ones with moments
	grads, reduced  int64 // gradients whole, and their shards
}

// fullest is the shape of the job's micro-batch that takes most memory, and the fullest moment of a step on it.
func (j *Job) fullest() (model.Shape, memory, error) {
	b, err := j.Train.Largest(j.loaderOptions())
	if err != nil {
		return model.Shape{}, memory{}, err
	}
	s := j.shapeOf(b)
	most, err := j.peak(s)
	return s, most, err
}

// peak is the fullest moment of a step on micro-batches of a shape. It goes through a step as step.go does.
func (j *Job) peak(s model.Shape) (memory, error) {
	m, err := model.EstimateMemory(j.Config, s)
	if err != nil {
		return memory{}, err
	}
	groups, keeps, err := j.held()
	if err != nil {
		return memory{}, err
	}
	var at memory
	d := j.Recipe.Distributed
	for _, g := range groups {
		if !d.CPUOffload {
			at.base += g.frozen
		}
		at.trained += g.trained
	}
	layers := len(groups) - 1
	if j.Config.Target == model.CUDA {
		at.ahead = ahead * m.Activations / int64(layers)
	}
	sharded := j.Mesh.Size(collective.Shard, collective.Context) > 1
	kept := sharded && keeps
	gathered := func(l int) (sum int64) { // while block l is at work and the one before it is on its way
		for i, g := range groups {
			if i != l && i != l-1 && i != layers {
				switch {
				case !d.ReshardAfterForward && i < l && sharded:
					sum += g.stays
				case kept:
					sum += g.grads
				}
				continue
			}
			if sharded {
				sum += g.whole
			}
			if d.CPUOffload && (!sharded || i == l-1) { // of those that are whole, the copies are gone
				sum += g.copied
			}
		}
		return sum
	}
	// The loss of the last micro-batch, while the backward pass's first block is on its way.
	at.gathered, at.activations, at.working = gathered(layers), m.Activations, m.Loss
	at.gradients = groups[layers].grads
	if j.Accum > 1 { // sums of the micro-batches before
		for _, g := range groups {
			at.gradients += g.grads
		}
	}
	most := at
	at.working = m.Backward
	for l := layers - 1; l >= 0; l-- { // its backward pass, for which most is kept
		at.gathered, at.gradients, at.activations = gathered(l), groups[layers].grads+groups[l].grads, m.Activations*int64(l+1)/int64(layers)
		for i, g := range groups {
			switch {
			case i > l && i < layers:
				at.gradients += g.reduced
			case j.Accum > 1: // sums of the micro-batches before
				at.gradients += g.grads
			}
		}
		if at.total() > most.total() {
			most = at
		}
	}
	return most, nil
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
			if p.For != model.Forward {
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
			if p.For != model.Forward {
				h.copied += shard
			}
		}
		out = append(out, h)
	}
	return out, fsdp.KeepsTrained(groups(m)), nil
}
