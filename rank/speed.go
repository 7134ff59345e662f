package rank

import (
	"slices"
	"strings"

	"gorun/collective"
	"gorun/rank/data"
)

// peaks are the most FLOP/s that a GPU does in dense products of bfloat16, by NVIDIA's data sheets: those of the first row
// of which all words are in the GPU's name.
var peaks = []struct {
	words string
	flops float64
}{
	{"H100 PCIe", 756e12}, {"H100 NVL", 835e12}, {"H200 NVL", 835e12}, {"H100", 989e12}, {"H200", 989e12}, {"GH200", 989e12},
	{"B200", 2250e12}, {"GB200", 2500e12}, {"A100", 312e12}, {"A40", 150e12}, {"A30", 165e12}, {"L40S", 362e12}, {"L40", 181e12}, {"L4", 121e12},
}

// peakFLOPs is the peak of a device by its kind, such as "NVIDIA H100 80GB HBM3"; 0 if it is not known.
func peakFLOPs(kind string) float64 {
	has := strings.FieldsFunc(kind, func(r rune) bool { return r == ' ' || r == '-' })
	for _, p := range peaks {
		missing := func(word string) bool { return !slices.Contains(has, word) }
		if !slices.ContainsFunc(strings.Fields(p.words), missing) {
			return p.flops
		}
	}
	return 0
}

// meter tells how fast a rank's device trains.
type meter struct {
	sharing  float64               // ranks that share the work on one micro-batch
	perToken func(seq int) float64 // FLOPs of a token in a sequence of that length
	peak     float64               // FLOP/s of the device; 0 = not known
}

// meter is what tells how fast a job trains on a device of the kind.
func (j *Job) meter(kind string) meter {
	m := meter{sharing: float64(j.sharing()), perToken: j.flopsPerToken()}
	if j.Recipe.Model.DType == "bf16" {
		m.peak = peakFLOPs(kind)
	}
	return m
}

// flopsPerToken is spec.FLOPsPerToken of what the job trains.
func (j *Job) flopsPerToken() func(seq int) float64 {
	adapter := j.trainedParams()
	if j.Config.Full {
		adapter = 0
	}
	return func(seq int) float64 { return j.Base.Decoder.FLOPsPerToken(seq, adapter) }
}

// sharing is the number of ranks that share the work on one micro-batch, and so its tokens.
func (j *Job) sharing() int {
	return j.Mesh.World() / j.Mesh.Size(collective.Replicate, collective.Shard)
}

// read gives a step's tokens per second and device, padding included, and the share of the device's peak that their FLOPs
// are, by the formula of spec.FLOPsPerToken; 0 if the peak is not known.
func (m meter) read(step *data.Step, seconds float64) (tokS, mfu float64) {
	var tokens, flops float64
	for _, mb := range step.Micro {
		n := float64(mb.Rows*mb.Seq) / m.sharing
		tokens += n
		flops += n * m.perToken(mb.Seq)
	}
	if m.peak > 0 {
		mfu = flops / seconds / m.peak
	}
	return tokens / seconds, mfu
}
