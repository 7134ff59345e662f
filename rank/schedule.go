package rank

import (
	"math"

	"gorun/configs"
)

// learningRate is the rate of optimizer step number step (from 0) of total, with the factors of transformers'
// get_*_schedule functions. decay_steps 0 means all steps after warm-up, or, for wsd, the last tenth of the run.
func learningRate(o configs.Optimizer, s configs.LRScheduler, step, total int) float64 {
	if step < s.WarmupSteps {
		return o.LR * float64(step) / float64(max(1, s.WarmupSteps))
	}
	floor := 0.0
	if o.LR > 0 {
		floor = s.MinLR / o.LR
	}
	after := max(1, total-s.WarmupSteps)
	decay := s.DecaySteps
	var start int // where the fall begins
	switch s.Name {
	case "wsd":
		if decay == 0 {
			decay = max(1, total/10)
		}
		start = max(s.WarmupSteps, total-decay)
	default:
		if decay == 0 {
			decay = after
		}
		start = s.WarmupSteps
	}
	gone := min(1, max(0, float64(step-start)/float64(decay)))
	factor := 1.0
	switch s.Name {
	case "linear":
		factor = 1 - gone
	case "cosine", "wsd":
		factor = 0.5 * (1 + math.Cos(math.Pi*gone))
	}
	return o.LR * (floor + (1-floor)*factor)
}
