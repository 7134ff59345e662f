package spec

import (
	"fmt"
	"slices"
)

// Mixture describes MLPs of many experts, of which a router picks a few for each token (Shazeer et al. 2017,
// arXiv:1701.06538, as Mixtral and Qwen3-MoE have them).
type Mixture struct {
	Experts   int     // in every block that has them
	PerToken  int     // experts that each token goes through
	Width     int     // features of one expert's gated MLP
	Normalize bool    // the probabilities of a token's experts are scaled to the sum 1
	Balance   float64 // weight of the auxiliary loss in training; 0 = none
	Plain     []bool  // per layer: the MLP is a plain one of Intermediate features; nil = in none

	Module         string // of router and experts in a block: "mlp", "block_sparse_moe"
	Gate, Up, Down string // an expert's linears: "gate_proj", "w1"
}

// mixtureRule says how a family's config.json describes its mixture.
type mixtureRule struct {
	experts, perToken int    // defaults
	width             int    // default of moe_intermediate_size; 0 = intermediate_size is an expert's
	normalized        bool   // always; else norm_topk_prob says so
	module            string // see Mixture
	gate, up, down    string
}

// expertKeys are what the number of experts is called.
var expertKeys = []string{"num_local_experts", "num_experts", "n_routed_experts"}

// mixtureFromConfig reads the mixture of a family that has one.
func mixtureFromConfig(f fields, fam family, d *Decoder) *Mixture {
	r := fam.mixture
	if r == nil {
		return nil
	}
	m := &Mixture{
		Experts: r.experts, PerToken: f.int("num_experts_per_tok", r.perToken), Width: d.Intermediate, Normalize: r.normalized,
		Module: r.module, Gate: r.gate, Up: r.up, Down: r.down,
	}
	for _, key := range expertKeys[:2] { // transformers takes either
		m.Experts = f.int(key, m.Experts)
	}
	if !r.normalized {
		m.Normalize = f.bool("norm_topk_prob", false)
	}
	if r.width != 0 {
		m.Width = f.int("moe_intermediate_size", r.width)
		m.Plain = plainLayers(f, d.Layers)
	}
	if f.bool("output_router_logits", false) {
		m.Balance = f.float("router_aux_loss_coef", 0.001)
	}
	if f.float("router_jitter_noise", 0) != 0 {
		f.fail("router_jitter_noise", "is %s; noise inside the model is not supported, set it to 0.0", f.show("router_jitter_noise"))
	}
	return m
}

// plainLayers lists the layers without experts: those of mlp_only_layers, and all but every decoder_sparse_step-th.
func plainLayers(f fields, layers int) []bool {
	step, only := f.int("decoder_sparse_step", 1), f.ints("mlp_only_layers", nil)
	if step < 1 {
		f.fail("decoder_sparse_step", "is %d, must be at least 1", step)
		return nil
	}
	if layers < 1 || layers > maxLayers {
		return nil // reported as a fault of num_hidden_layers
	}
	plain := make([]bool, layers)
	for i := range plain {
		plain[i] = (i+1)%step != 0 || slices.Contains(only, i)
	}
	return nilIfAll(plain, false)
}

// Sparse tells whether a layer's MLP is a mixture of experts.
func (d *Decoder) Sparse(layer int) bool {
	return d.Mixture != nil && (d.Mixture.Plain == nil || !d.Mixture.Plain[layer])
}

// Router is the linear that scores the experts of a layer. It is not among Linears: what it gives is a choice, and no
// server takes an adapter on it.
func (d *Decoder) Router(layer int) Linear {
	m := d.Mixture
	return Linear{Name: BlockPrefix(layer) + m.Module + ".gate", Layer: layer, In: d.Hidden, Out: m.Experts}
}

// Expert lists the linears of one expert of a layer: gate, up and down.
func (d *Decoder) Expert(layer, expert int) [3]Linear {
	m := d.Mixture
	prefix := fmt.Sprintf("%s%s.experts.%d.", BlockPrefix(layer), m.Module, expert)
	return [3]Linear{
		{Name: prefix + m.Gate, Layer: layer, In: d.Hidden, Out: m.Width},
		{Name: prefix + m.Up, Layer: layer, In: d.Hidden, Out: m.Width},
		{Name: prefix + m.Down, Layer: layer, In: m.Width, Out: d.Hidden},
	}
}

// impossible reports sizes that no mixture can have, in the words of config.json.
func (m *Mixture) impossible() []error {
	if m == nil {
		return nil
	}
	var faults []error
	if !(m.Balance >= 0 && m.Balance < 1e9) {
		faults = append(faults, fmt.Errorf("router_aux_loss_coef: is %g, must be positive", m.Balance))
	}
	for _, size := range []struct {
		name        string
		value, most int
	}{
		{"num_experts (num_local_experts)", m.Experts, maxExperts},
		{"num_experts_per_tok", m.PerToken, min(m.Experts, maxExperts)},
		{"moe_intermediate_size", m.Width, maxWidth},
	} {
		if size.value < 1 || size.value > size.most {
			faults = append(faults, fmt.Errorf("%s: is %d, must be 1 to %d", size.name, size.value, size.most))
		}
	}
	return faults
}
