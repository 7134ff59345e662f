package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const everyProjection = 7

func small(name string, layers int) *Decoder {
	cfg := fmt.Sprintf(`{"model_type": %q, "num_hidden_layers": %d}`, name, layers)
	d, err := Parse([]byte(cfg))
	if err != nil {
		panic(err)
	}
	return d
}

func TestMatchLinears(t *testing.T) {
	llama, phi, tied := small("llama", 12), small("phi3", 12), small("smollm3", 12)
	for _, c := range []struct {
		name    string
		d       *Decoder
		target  []string
		exclude []string
		all     bool
		count   int
		first   string
	}{
		{"every projection", llama, []string{"*_proj"}, nil, false, 12 * everyProjection, "model.layers.0.self_attn.q_proj"},
		{"layer 1 is not layer 10", llama, []string{"*.layers.1.*.q_proj"}, nil, false, 1, "model.layers.1.self_attn.q_proj"},
		{"a star stays in its segment", llama, []string{"model.layers.1*.self_attn.v_proj"}, nil, false, 3, "model.layers.1.self_attn.v_proj"},
		{"a middle star", llama, []string{"model.layers.*.mlp.*_proj"}, nil, false, 36, "model.layers.0.mlp.gate_proj"},
		{"plain names as in PEFT", llama, []string{"q_proj", "v_proj"}, nil, false, 24, "model.layers.0.self_attn.q_proj"},
		{"plain name with a path", llama, []string{"3.mlp.down_proj"}, nil, false, 1, "model.layers.3.mlp.down_proj"},
		{"a whole name", llama, []string{"model.layers.11.mlp.up_proj"}, nil, false, 1, "model.layers.11.mlp.up_proj"},
		{"the head when named", llama, []string{"lm_head", "o_proj"}, nil, false, 13, "model.layers.0.self_attn.o_proj"},
		{"a lone star reaches the head", llama, []string{"*"}, nil, false, 12*everyProjection + 1, "model.layers.0.self_attn.q_proj"},
		{"all linears, not the head", llama, nil, nil, true, 12 * everyProjection, "model.layers.0.self_attn.q_proj"},
		{"all but", llama, nil, []string{"*.layers.0.*.*", "down_proj"}, true, 11 * 6, "model.layers.1.self_attn.q_proj"},
		{"exclude", llama, []string{"*_proj"}, []string{"*.mlp.*"}, false, 48, "model.layers.0.self_attn.q_proj"},
		{"overlap counts once", llama, []string{"*_proj", "q_proj"}, nil, false, 12 * everyProjection, "model.layers.0.self_attn.q_proj"},
		{"NeMo qkv", llama, []string{"linear_qkv"}, nil, false, 36, "model.layers.0.self_attn.q_proj"},
		{"NeMo all", llama, []string{"linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"}, nil, false, 12 * everyProjection, "model.layers.0.self_attn.q_proj"},
		{"NeMo with a path", llama, []string{"*.layers.2.*.linear_fc1"}, nil, false, 2, "model.layers.2.mlp.gate_proj"},
		{"NeMo with a star", llama, []string{"*linear_proj"}, nil, false, 12, "model.layers.0.self_attn.o_proj"},
		{"fused every projection", phi, []string{"*_proj"}, nil, false, 48, "model.layers.0.self_attn.qkv_proj"},
		{"fused by name", phi, []string{"qkv_proj", "gate_up_proj"}, nil, false, 24, "model.layers.0.self_attn.qkv_proj"},
		{"fused NeMo", phi, []string{"linear_qkv", "linear_fc1"}, nil, false, 24, "model.layers.0.self_attn.qkv_proj"},
		{"tied head is no module", tied, []string{"*"}, nil, false, 12 * everyProjection, "model.layers.0.self_attn.q_proj"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := MatchLinears(c.d, c.target, c.exclude, c.all)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != c.count || got[0].Name != c.first {
				t.Errorf("%d linears from %s, want %d from %s", len(got), got[0].Name, c.count, c.first)
			}
			if !slices.IsSortedFunc(got[:min(len(got), 12*everyProjection)], func(a, b Linear) int {
				if a.Layer < 0 || b.Layer < 0 {
					return 0
				}
				return a.Layer - b.Layer
			}) {
				t.Error("not in block order")
			}
		})
	}
}

func TestMatchLinearsReportsEveryPattern(t *testing.T) {
	llama, phi, tied := small("llama", 12), small("phi3", 2), small("smollm3", 2)
	for _, c := range []struct {
		name            string
		d               *Decoder
		target, exclude []string
		all             bool
		want            []string
	}{
		{"misspelled", llama, []string{"q_porj", "*_proj", "kproj"}, []string{"v_prj"}, false,
			[]string{`target_modules: "q_porj" matches no module; nearest: q_proj`, `"kproj" matches no module; nearest: k_proj`, `exclude_modules: "v_prj"`}},
		{"layer out of range", llama, []string{"*.layers.12.*.q_proj"}, nil, false, []string{"nearest: model.layers.1"}},
		{"not at a dot", llama, []string{"proj"}, nil, false, []string{`"proj" matches no module`}},
		{"glob must cover the name", llama, []string{"layers.*.self_attn.q_proj"}, nil, false, []string{"nearest: model.layers.0.self_attn.q_proj"}},
		{"star and dot", llama, []string{"*.layers.0.*"}, nil, false, []string{"does not cross a dot, so model.layers.0.self_attn.q_proj"}},
		{"fused", phi, []string{"q_proj", "up_proj"}, nil, false, []string{"fused: qkv_proj", "fused: gate_up_proj"}},
		{"tied head", tied, []string{"lm_head"}, nil, false, []string{"tied to the embedding"}},
		{"nothing asked", llama, nil, nil, false, []string{"target_modules: is empty"}},
		{"empty pattern", llama, []string{""}, nil, false, []string{"1 to 256 characters"}},
		{"nothing left", llama, []string{"q_proj"}, []string{"*_proj"}, false, []string{"leaves no module"}},
		{"exclude with all", llama, nil, []string{"nope"}, true, []string{`exclude_modules: "nope"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := MatchLinears(c.d, c.target, c.exclude, c.all)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// TestGlob compares with path.Match, where the separator is a slash.
func TestGlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab.*]{0,10}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab.]{0,12}`).Draw(t, "s")
		want, err := path.Match(strings.ReplaceAll(pattern, ".", "/"), strings.ReplaceAll(s, ".", "/"))
		if err != nil {
			t.Fatal(err)
		}
		if got := glob(pattern, s); got != want {
			t.Errorf("glob(%q, %q) = %v, want %v", pattern, s, got, want)
		}
	})
}
