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
	if c.UseDoRA {
		for i := range a.Modules {
			a.Modules[i].Magnitude = []float32{}
		}
	}
	if a.Tables, err = tables(d, c.ModulesToSave); err != nil {
		return nil, err
	}
	describeRun(a, d, r)
	return a, a.CheckExperts(d)
}

// tables are the modules to save, without their values.
func tables(d *spec.Decoder, modules []string) ([]export.Table, error) {
	var out []export.Table
	var faults []error
	for _, m := range modules {
		tensor, ok := export.TableOf(m)
		switch {
		case !ok:
			faults = append(faults, fmt.Errorf("modules_to_save: %q cannot be trained in full beside an adapter; embed_tokens and lm_head can", m))
		case tensor == spec.HeadTensor && d.TiedHead:
			faults = append(faults, errors.New("modules_to_save: this model's lm_head is its embedding: name embed_tokens, which trains both as one"))
		case slices.ContainsFunc(out, func(t export.Table) bool { return t.Name == tensor }):
			faults = append(faults, fmt.Errorf("modules_to_save: %q is named twice", m))
		}
		out = append(out, export.Table{Name: tensor, Rows: d.Vocab, Cols: d.Hidden})
	}
	return out, errors.Join(faults...)
}

// resumedAdapter is the adapter that training starts from, without its values, as the recipe's run will save it.
func resumedAdapter(from *export.Adapter, d *spec.Decoder, r *configs.Recipe) (*export.Adapter, error) {
	if err := from.Fits(d); err != nil {
		return nil, err
	}
	a := *from
	a.Modules, a.Tables = slices.Clone(from.Modules), nil
	for i := range a.Modules {
		m := &a.Modules[i]
		m.A, m.B, m.Magnitude = nil, nil, m.Magnitude[:0:0]
	}
	for _, t := range from.Tables {
		if t.Name != spec.HeadTensor || !d.TiedHead {
			t.Values = nil
			a.Tables = append(a.Tables, t)
		}
	}
	describeRun(&a, d, r)
	return &a, a.CheckExperts(d)
}

// describeRun adds what only the run knows.
func describeRun(a *export.Adapter, d *spec.Decoder, r *configs.Recipe) {
	a.Base, a.Revision, a.Dropout = r.Model.PretrainedModelNameOrPath, r.Model.Revision, r.PEFT.Dropout
	a.Linears, a.Tied = linears(d), d.TiedHead
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
		out[m.Name] = model.Adapter{Dim: a.DimOf(m), Scale: a.Scaling(m), DoRA: a.DoRA()}
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
