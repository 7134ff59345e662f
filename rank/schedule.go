package rank

import (
	"fmt"
	"math"

	"gorun/configs"
)

// learningRate is the rate of optimizer step number step (from 0) of total, step by step that of transformers'
// optimization.py: constant_with_warmup, linear (with min_lr: polynomial of power 1), cosine_with_min_lr and
// warmup_stable_decay with its default shapes. lr_scheduler.decay_steps 0 means all steps after warm-up or, for wsd,
// the last tenth of the run, or what warm-up leaves of it; once the rate has fallen it stays at min_lr.
func learningRate(o configs.Optimizer, s configs.LRScheduler, step, total int) float64 {
	floor := 0.0 // min_lr as a share of lr
	if o.LR > 0 {
		floor = s.MinLR / o.LR
	}
	if step < s.WarmupSteps {
		rise := float64(step) / float64(s.WarmupSteps)
		if s.Name == "wsd" { // alone of them it starts at min_lr
			rise = floor + (1-floor)*rise
		}
		return o.LR * rise
	}
	start, length := fall(s, total)
	gone := min(1, max(0, float64(step-start)/float64(length)))
	left := 1.0 // share of the way from lr to min_lr that is still to go
	switch s.Name {
	case "linear":
		left = 1 - gone
	case "cosine", "wsd":
		left = 0.5 * (1 + math.Cos(math.Pi*gone))
	}
	return o.LR * (floor + (1-floor)*left)
}

// fall says at which step the rate begins to fall, and how many steps it takes, at least 1.
func fall(s configs.LRScheduler, total int) (start, length int) {
	length = s.DecaySteps
	after := max(1, total-s.WarmupSteps)
	if s.Name == "wsd" {
		if length == 0 {
			length = min(after, max(1, total/10))
		}
		return max(s.WarmupSteps, total-length), length
	}
	if length == 0 {
		length = after
	}
	return s.WarmupSteps, length
}

// checkSchedule refuses a schedule that a run of total steps would cut short. Where step_scheduler.max_steps is given,
// configs has refused it already.
func checkSchedule(s configs.LRScheduler, total int) error {
	switch {
	case s.WarmupSteps > total:
		return fmt.Errorf("lr_scheduler.warmup_steps: %d, but the run has %d steps and would never reach optimizer.lr; lower it", s.WarmupSteps, total)
	case s.WarmupSteps+s.DecaySteps > total:
		return fmt.Errorf("lr_scheduler.decay_steps: %d does not fit: of the run's %d steps, %d are warm-up; lower it", s.DecaySteps, total, s.WarmupSteps)
	}
	return nil
}
