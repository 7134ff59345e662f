package rank

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"gorun/configs"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/spec"
)

// adapters says which linears get an adapter and its size: those that the recipe's patterns match, or those of the
// adapter that training starts from.
func adapters(d *spec.Decoder, c configs.PEFT, from *export.Adapter) (map[string]model.Adapter, error) {
	out := map[string]model.Adapter{}
	if from != nil {
		for i := range from.Modules {
			m := &from.Modules[i]
			out[m.Name] = model.Adapter{Dim: from.DimOf(m), Scale: from.Scaling(m)}
		}
		return out, nil
	}
	linears, err := spec.MatchLinears(d, c.TargetModules, c.ExcludeModules, c.MatchAllLinear)
	if err != nil {
		return nil, err
	}
	for _, l := range linears {
		out[l.Name] = model.Adapter{Dim: c.Dim, Scale: scaling(float64(c.Alpha), c.Dim, c.UseRSLora)}
	}
	return out, nil
}

// scaling is alpha/dim, or alpha/sqrt(dim) with rank-stabilised LoRA.
func scaling(alpha float64, dim int, rs bool) float64 {
	if rs {
		return alpha / math.Sqrt(float64(dim))
	}
	return alpha / float64(dim)
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
