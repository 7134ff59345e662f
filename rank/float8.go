package rank

import (
	"fmt"

	"gorun/collective"
	"gorun/model"
)

// float8 keeps the frozen base in 8-bit floats, or says why this job cannot.
func (j *Job) float8() error {
	const use = "use peft.base_precision = \"bf16\""
	if n := j.Mesh.Size(collective.Shard, collective.Context); n > 1 {
		return fmt.Errorf("peft.base_precision: a base in 8-bit floats lies whole on every rank, and this mesh shards it over %d: replicate it with distributed.dp_replicate_size = %d and cp_size = 1, or %s", n, j.Mesh.World(), use)
	}
	if j.Recipe.Distributed.CPUOffload {
		return fmt.Errorf("peft.base_precision: a base in 8-bit floats is made on the device and stays there: drop distributed.cpu_offload, or %s", use)
	}
	if j.Recipe.PEFT.BasePrecision == "fp8" {
		j.Config.Ends = float8Ends(j.Config.Decoder.Layers)
	}
	j.Config.Head8 = j.Recipe.PEFT.BasePrecision == "fp8_all"
	if err := j.Config.Float8Refused(); err != nil {
		return fmt.Errorf("peft.base_precision: %w: %s", err, use)
	}
	j.Config.Float8 = true
	return nil
}

// float8Ends is how many blocks at either end of a decoder base_precision = "fp8" leaves as they are. Rounding those costs
// most: two of 30 at either end of SmolLM2-135M are 40 % of what rounding all of them changes (docs/float8.md).
func float8Ends(layers int) int { return layers / 15 }

// base says how the frozen base is kept, if otherwise than it is computed.
func (j *Job) base() (text string, ok bool) {
	if !j.Config.Float8 {
		return "", false
	}
	text = "the weights of blocks in 8-bit floats, once for each pass (peft.base_precision)"
	if n := j.Config.Ends; n > 0 {
		text += fmt.Sprintf(", but for the first and the last %d", n)
	}
	if j.Config.Head8 {
		text += ", and in training the head's"
	}
	if j.Config.Target == model.CPU {
		text += ": on this CPU to see what it does to the loss, and slower than bf16"
	}
	return text, true
}
