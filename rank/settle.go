package rank

import (
	"fmt"

	"gorun/model"
)

// settle chooses what depends on the device: how programs are written and which attention they have. attention is the
// recipe's model.attention.
func settle(c *model.Config, cuda bool, attention string) error {
	c.Target = model.CPU
	if cuda {
		c.Target = model.CUDA
	}
	refused := c.FlashRefused()
	if attention == "cudnn" && refused != nil {
		return fmt.Errorf("model.attention: %w: use \"auto\" or \"blockwise\"", refused)
	}
	c.Flash = attention != "blockwise" && refused == nil
	return nil
}

// Settle makes the job one for the CPU or for an NVIDIA GPU, or says what of it that device cannot do.
func (j *Job) Settle(cuda bool) error { return settle(&j.Config, cuda, j.Recipe.Model.Attention) }
