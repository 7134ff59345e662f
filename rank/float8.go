package rank

import (
	"fmt"

	"gorun/collective"
	"gorun/model"
)

// float8 keeps the frozen base in 8-bit floats, or says why this job cannot.
func (j *Job) float8() error {
	const use = "use peft.base_precision = \"bf16\""
	if j.Recipe.PEFT.BasePrecision == "fp8" {
		j.Config.Ends = float8Ends(j.Config.Decoder.Layers)
	}
	j.Config.Head8 = j.Recipe.PEFT.BasePrecision == "fp8_all"
	if err := j.Config.Float8Refused(); err != nil {
		return fmt.Errorf("peft.base_precision: %w: %s", err, use)
	}
	j.Config.Float8 = true
	j.Config.OneCopy = j.Mesh.Size(collective.Shard, collective.Context) > 1 || j.Recipe.Distributed.CPUOffload
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
	if j.Config.OneCopy {
		text = "the weights of blocks in 8-bit floats, once for each pass, which fetches its own alone (peft.base_precision)"
	}
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
