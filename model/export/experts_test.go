package export

import (
	"strings"
	"testing"

	"gorun/model/spec"
)

// TestCheckExperts: what PEFT would load as another adapter is refused, each fault by itself.
func TestCheckExperts(t *testing.T) {
	d := &spec.Decoder{
		Family: "qwen3_moe", Layers: 3, Hidden: 4, Intermediate: 6, Heads: 2, KVHeads: 2, HeadDim: 2,
		Mixture: &spec.Mixture{Experts: 2, PerToken: 1, Width: 3, Plain: []bool{false, true, false}, Module: "mlp", Gate: "gate_proj", Up: "up_proj", Down: "down_proj"},
	}
	adapter := func(match func(name string) bool) *Adapter {
		a := &Adapter{Dim: 2, Alpha: 4}
		for layer := range d.Layers {
			for _, l := range d.Linears(layer) {
				if match(l.Name) {
					a.Modules = append(a.Modules, Module{Name: l.Name, In: l.In, Out: l.Out})
				}
			}
		}
		return a
	}
	has := func(parts ...string) func(string) bool {
		return func(name string) bool {
			for _, p := range parts {
				if strings.Contains(name, p) {
					return true
				}
			}
			return false
		}
	}
	experts := has("self_attn", ".experts.")
	for want, c := range map[string]struct {
		match func(string) bool
		edit  func(*Adapter)
	}{
		"":                               {match: experts},
		"module model.layers.1.mlp":      {match: func(string) bool { return true }},
		"gate_proj of 3 of 4 experts":    {match: func(n string) bool { return experts(n) && !strings.HasSuffix(n, "layers.2.mlp.experts.1.gate_proj") }},
		"gate_proj without up_proj":      {match: has("experts.0.gate_proj", "experts.1.gate_proj")},
		"a dim or an alpha of their own": {match: experts, edit: func(a *Adapter) { a.Modules[5].Dim = 3 }},
		"dropout 0.1":                    {match: experts, edit: func(a *Adapter) { a.Dropout = 0.1 }},
		"DoRA":                           {match: experts, edit: func(a *Adapter) { a.Modules[0].Magnitude = []float32{} }},
		"rank-stabilised":                {match: experts, edit: func(a *Adapter) { a.RSLoRA = true }},
		" ":                              {match: has("self_attn"), edit: func(a *Adapter) { a.Dropout, a.RSLoRA = 0.1, true }},
	} {
		a := adapter(c.match)
		if c.edit != nil {
			c.edit(a)
		}
		switch err := a.CheckExperts(d); {
		case strings.TrimSpace(want) == "":
			if err != nil {
				t.Errorf("refused: %v", err)
			}
		case err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%v, want only %q", err, want)
		}
	}
	if err := adapter(experts).CheckExperts(&spec.Decoder{}); err != nil {
		t.Errorf("a model without experts: %v", err)
	}
}
