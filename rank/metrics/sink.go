package metrics

// sink is one place that records go to. Logger calls it under its lock. An error names the file or the field.
type sink interface {
	step(Record) error
	validated(ValidationRecord) error
	// close ends the run there; outcome is how the run ended, nil = well.
	close(outcome error) error
}

// scalar is a value by the name that TensorBoard and W&B show.
type scalar struct {
	tag   string
	value float64
}

// scalars are a step's values; what is not known is left out.
func (r Record) scalars() []scalar {
	list := []scalar{{"train/loss", r.Loss}, {"train/grad_norm", r.GradNorm}, {"train/lr", r.LR}, {"perf/tok_s", r.TokS}, {"perf/step_time_s", r.StepTimeS}}
	if r.MFU > 0 {
		list = append(list, scalar{"perf/mfu", r.MFU})
	}
	if r.MemGiB > 0 {
		list = append(list, scalar{"perf/mem_gib", r.MemGiB})
	}
	return list
}

// scalar is the validation's loss.
func (v ValidationRecord) scalar() scalar { return scalar{"val/" + v.Set, v.ValLoss} }
