package configs

import (
	"errors"
	"fmt"
	"math"
)

// ResolveAccumulation returns the micro-batches per step on each of dp data-parallel ranks: grad_acc_steps,
// or global_batch_size / (dataloader.batch_size x dp), or 1 if neither is given. The error is a *Fault: a
// global batch that does not divide, or both keys given and contradicting.
func (r *Recipe) ResolveAccumulation(dp int) (accSteps int, err error) {
	s, batch := r.StepScheduler, r.Dataloader.BatchSize
	if dp < 1 || batch < 1 {
		return 0, fmt.Errorf("accumulation steps: %d data-parallel ranks and dataloader.batch_size = %d; both must be at least 1", dp, batch)
	}
	if s.GlobalBatchSize == 0 {
		return max(s.GradAccSteps, 1), nil
	}
	if s.GlobalBatchSize/batch < dp || s.GlobalBatchSize%(batch*dp) != 0 {
		return 0, notMultiple(s.GlobalBatchSize, batch, dp)
	}
	accSteps = s.GlobalBatchSize / (batch * dp)
	if s.GradAccSteps > 0 && s.GradAccSteps != accSteps {
		return 0, &Fault{
			Field: "step_scheduler.grad_acc_steps",
			Problem: fmt.Sprintf("%d contradicts global_batch_size = %d: with dataloader.batch_size = %d on %s it takes %d; drop one of the two",
				s.GradAccSteps, s.GlobalBatchSize, batch, ranks(dp), accSteps),
		}
	}
	return accSteps, nil
}

// notMultiple is the fault of a global batch that batch x dp does not divide.
func notMultiple(global, batch, dp int) *Fault {
	fix := "lower one of these"
	if batch <= math.MaxInt/2/dp {
		unit := batch * dp
		fix = fmt.Sprintf("use %d", unit)
		if down := global / unit * unit; down > 0 && down <= math.MaxInt-unit {
			fix = fmt.Sprintf("use %d or %d", down, down+unit)
		}
	}
	return &Fault{
		Field: "step_scheduler.global_batch_size",
		Problem: fmt.Sprintf("%d is no multiple of dataloader.batch_size = %d on %s; %s, or another batch_size",
			global, batch, ranks(dp), fix),
	}
}

// ranks counts data-parallel ranks in words.
func ranks(dp int) string {
	if dp == 1 {
		return "each rank"
	}
	return fmt.Sprintf("each of %d data-parallel ranks", dp)
}

// asFault turns an error of this package back into its fault.
func asFault(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return &Fault{Problem: err.Error(), cause: err}
}
