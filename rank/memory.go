package rank

import (
	"fmt"
	"strings"

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

// peak is the fullest moment of a step on micro-batches of a shape: the loss of the last micro-batch, or the backward pass of
// a block. It goes through a step as step.go does.
func (j *Job) peak(s model.Shape) (memory, error) {
	m, err := model.EstimateMemory(j.Config, s)
	if err != nil {
		return memory{}, err
	}
	w, err := j.walk()
	if err != nil {
		return memory{}, err
	}
	layers := w.root()
	at := memory{gathered: w.gathered(layers), gradients: w.gradients(layers), activations: m.Activations, working: m.Loss}
	at.base, at.trained = w.standing()
	if j.Config.Target == model.CUDA {
		at.ahead = ahead * m.Activations / int64(layers)
	}
	most := at
	at.working = m.Backward
	for l := layers - 1; l >= 0; l-- {
		at.gathered, at.gradients, at.activations = w.gathered(l), w.gradients(l), m.Activations*int64(l+1)/int64(layers)
		if at.total() > most.total() {
			most = at
		}
	}
	return most, nil
}
