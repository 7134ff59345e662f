package rank

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"gorun/configs"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/spec"
)

// describeAdapter is the adapter of a recipe without its values: the linears that its patterns match, each with the sizes
// that the recipe gives it.
func describeAdapter(d *spec.Decoder, r *configs.Recipe) (*export.Adapter, error) {
	c := r.PEFT
	matched, err := spec.MatchLinears(d, c.TargetModules, c.ExcludeModules, c.MatchAllLinear)
	if err != nil {
		return nil, err
	}
	dims, err := spec.ValuesByPattern(matched, "dim_pattern", byPattern(c.DimPattern))
	alphas, errAlphas := spec.ValuesByPattern(matched, "alpha_pattern", byPattern(c.AlphaPattern))
	if err := errors.Join(err, errAlphas); err != nil {
		return nil, err
	}
	a := &export.Adapter{Dim: c.Dim, Alpha: float64(c.Alpha), RSLoRA: c.UseRSLora}
	for _, l := range matched {
		m := export.Module{Name: l.Name, In: l.In, Out: l.Out, Dim: c.Dim, Alpha: a.Alpha}
		if dim, ok := dims[l.Name]; ok {
			m.Dim = dim
		}
		if alpha, ok := alphas[l.Name]; ok {
			m.Alpha = float64(alpha)
		}
		a.Modules = append(a.Modules, m)
	}
	describeRun(a, d, r)
	return a, nil
}

// resumedAdapter is the adapter that training starts from, without its values, as the recipe's run will save it.
func resumedAdapter(from *export.Adapter, d *spec.Decoder, r *configs.Recipe) *export.Adapter {
	a := *from
	a.Modules = slices.Clone(from.Modules)
	for i := range a.Modules {
		a.Modules[i].A, a.Modules[i].B = nil, nil
	}
	describeRun(&a, d, r)
	return &a
}

// describeRun adds what only the run knows.
func describeRun(a *export.Adapter, d *spec.Decoder, r *configs.Recipe) {
	a.Base, a.Revision, a.Dropout = r.Model.PretrainedModelNameOrPath, r.Model.Revision, r.PEFT.Dropout
	a.Linears = linears(d)
}

func byPattern(list configs.ModuleValues) map[string]int {
	out := make(map[string]int, len(list))
	for _, v := range list {
		out[v.Pattern] = v.Value
	}
	return out
}

// adapters is what the model's programs need of an adapter.
func adapters(a *export.Adapter) map[string]model.Adapter {
	out := make(map[string]model.Adapter, len(a.Modules))
	for i := range a.Modules {
		m := &a.Modules[i]
		out[m.Name] = model.Adapter{Dim: a.DimOf(m), Scale: a.Scaling(m)}
	}
	return out
}

// initA draws the initial A [dim, in] of a module, the same for the same seed and module whatever the mesh. kaiming is
// PEFT's: uniform within 1/sqrt(in). xavier is AutoModel's: normal with variance 2/(in+dim).
func initA(kind string, seed int64, module string, dim, in int) ([]float32, error) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(module)) // a hash cannot fail
	rng := rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
	var draw func() float64
	switch kind {
	case "kaiming":
		bound := 1 / math.Sqrt(float64(in))
		draw = func() float64 { return (2*rng.Float64() - 1) * bound }
	case "xavier":
		std := math.Sqrt(2 / float64(in+dim))
		draw = func() float64 { return rng.NormFloat64() * std }
	default:
		return nil, fmt.Errorf("peft.lora_A_init: %q: use \"xavier\" or \"kaiming\"", kind)
	}
	a := make([]float32, dim*in)
	for i := range a {
		a[i] = float32(draw())
	}
	return a, nil
}
