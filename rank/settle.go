package rank

import (
	"errors"
	"fmt"

	"gorun/model"
)

// settle chooses what depends on the device: how programs are written, and which attention and kernels they have.
// attention and kernels are the recipe's model.attention and model.kernels.
func settle(c *model.Config, cuda bool, attention, kernels string) error {
	c.Target = model.CPU
	if cuda {
		c.Target = model.CUDA
	}
	refused := c.FlashRefused()
	if attention == "cudnn" && refused != nil {
		return fmt.Errorf("model.attention: %w: use \"auto\" or \"blockwise\"", refused)
	}
	c.Flash = attention != "blockwise" && refused == nil
	c.Kernels = kernels != "none" && c.KernelsRefused() == nil
	return nil
}

// Settle makes the job one for the CPU or for an NVIDIA GPU, or says what of it that device cannot do.
func (j *Job) Settle(cuda bool) error {
	switch backend := j.Recipe.DistEnv.Backend; {
	case backend == "nccl" && !cuda:
		return errors.New("dist_env.backend: NCCL moves data between NVIDIA GPUs, and this is the CPU: use \"auto\" or \"host\"")
	case backend == "host" && cuda:
		return errors.New("dist_env.backend: the host backend moves data between CPU ranks, and this is an NVIDIA GPU: use \"auto\" or \"nccl\"")
	}
	return settle(&j.Config, cuda, j.Recipe.Model.Attention, j.Recipe.Model.Kernels)
}
