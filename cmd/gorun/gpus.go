package main

import (
	"errors"
	"fmt"
	"os"

	"gorun/launcher/inventory"
)

// nearGPU is a GPU that this process may use, with the CPUs near it (none if that is not known).
type nearGPU struct {
	inventory.GPU

	cpus []int
}

// visibleGPUs asks NVIDIA's driver, and heeds CUDA_VISIBLE_DEVICES. The order is CUDA's if the GPUs are of one kind.
func visibleGPUs() (_ []nearGPU, err error) {
	driver, err := inventory.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	all, err := driver.GPUs()
	if err != nil {
		return nil, err
	}
	list, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	visible, err := inventory.Visible(all, list, set)
	if err != nil {
		return nil, err
	}
	out := make([]nearGPU, len(visible))
	for i, gpu := range visible {
		cpus, err := driver.CPUs(gpu.NUMANode)
		if err != nil {
			return nil, err
		}
		out[i] = nearGPU{gpu, cpus}
	}
	return out, nil
}

// countGPUs is the number of GPUs for --gpus auto.
func (a *app) countGPUs() (int, error) {
	gpus, err := a.gpus()
	switch {
	case err != nil:
		return 0, fmt.Errorf("--gpus auto: %w", err)
	case len(gpus) == 0:
		return 0, fmt.Errorf("--gpus auto: this process may use no GPU (CUDA_VISIBLE_DEVICES=%s): --device cpu trains without", os.Getenv("CUDA_VISIBLE_DEVICES"))
	}
	return len(gpus), nil
}

// enoughGPUs refuses more ranks than GPUs. A node whose driver can't be asked is left to the ranks.
func (a *app) enoughGPUs(ranks int) error {
	gpus, err := a.gpus()
	if errors.Is(err, inventory.ErrNoDriver) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--gpus %d: %w", ranks, err)
	}
	if ranks > len(gpus) {
		return fmt.Errorf("%w: --gpus %d: this process may use %d GPUs: CUDA_VISIBLE_DEVICES, the container or, under Slurm, a GPU bound to each task hides others (srun --gpu-bind=none shows all to all)", errUsage, ranks, len(gpus))
	}
	return nil
}

// cpusNear are the CPUs near the GPU of each local rank; nil where the driver can't be asked.
func (a *app) cpusNear(ranks int) [][]int {
	gpus, err := a.gpus()
	if err != nil {
		return nil
	}
	var out [][]int
	for _, gpu := range gpus[:min(ranks, len(gpus))] {
		out = append(out, gpu.cpus)
	}
	return out
}
