package export

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// vllmRanks are the values that vLLM's --max-lora-rank takes in every version (vllm/config/lora.py).
var vllmRanks = []int{8, 16, 32, 64, 128, 256, 320, 512}

// ForVLLM is the adapter as vLLM serves it, and the --max-lora-rank that it needs. vLLM (vllm/lora/peft_helper.py) takes
// r and lora_alpha for all modules from the configuration, and knows no rank_pattern or alpha_pattern: modules that
// differ get matrices padded with zeros to the largest Dim, and a B that makes up for their scaling. The product of
// every module stays what it was, to rounding; an adapter of one Dim and Alpha stays as it is.
func ForVLLM(a *Adapter) (*Adapter, int, error) {
	rank, err := a.VLLMRank()
	if err != nil {
		return nil, 0, fmt.Errorf("vLLM: %w", err)
	}
	dim, uniform := 0, true
	for i := range a.Modules {
		m := &a.Modules[i]
		dim = max(dim, a.DimOf(m))
		uniform = uniform && a.DimOf(m) == a.Dim && a.AlphaOf(m) == a.Alpha
	}
	if uniform {
		return a, rank, nil
	}
	out := *a
	out.Dim, out.Modules = dim, make([]Module, len(a.Modules))
	for i := range a.Modules {
		out.Modules[i] = pad(a, &a.Modules[i], &out)
	}
	return &out, rank, nil
}

// VLLMRank is the --max-lora-rank that vLLM needs to serve the adapter, of which it reads no values, or all reasons why it
// cannot.
func (a *Adapter) VLLMRank() (int, error) {
	dim := 0
	var faults []error
	for i := range a.Modules {
		m := &a.Modules[i]
		dim = max(dim, a.DimOf(m))
		if m.Name == "lm_head" {
			faults = append(faults, errors.New("module lm_head: vLLM serves no adapter on the head: merge the adapter into the base"))
		}
	}
	faults = append(faults, a.loraOnly("vLLM serves")...)
	at := slices.IndexFunc(vllmRanks, func(r int) bool { return r >= dim })
	if at < 0 {
		faults = append(faults, fmt.Errorf("modules of Dim %d, and vLLM serves at most %d: merge the adapter into the base", dim, vllmRanks[len(vllmRanks)-1]))
	}
	if faults != nil {
		return 0, errors.Join(faults...)
	}
	return vllmRanks[at], nil
}

// pad is a module of a with the Dim and Alpha of to.
func pad(a *Adapter, m *Module, to *Adapter) Module {
	dim := a.DimOf(m)
	scaling := to.Alpha / float64(to.Dim)
	if to.RSLoRA {
		scaling = to.Alpha / math.Sqrt(float64(to.Dim))
	}
	factor := float32(a.Scaling(m) / scaling)
	out := Module{Name: m.Name, Dim: to.Dim, Alpha: to.Alpha, In: m.In, Out: m.Out, A: make([]float32, to.Dim*m.In), B: make([]float32, m.Out*to.Dim)}
	copy(out.A, m.A)
	for row := range m.Out {
		for r := range dim {
			out.B[row*to.Dim+r] = m.B[row*dim+r] * factor
		}
	}
	return out
}
