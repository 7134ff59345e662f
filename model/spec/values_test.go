package spec

import (
	"reflect"
	"strings"
	"testing"
)

func TestValuesByPattern(t *testing.T) {
	d := small("llama", 12)
	linears, err := MatchLinears(d, []string{"linear_qkv"}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ValuesByPattern(linears, "dim_pattern", map[string]int{"*.layers.1.*.q_proj": 4, "layers.11.self_attn.k_proj": 8, "*.1.self_attn.*_proj": 4})
	want := map[string]int{"model.layers.1.self_attn.q_proj": 4, "model.layers.1.self_attn.k_proj": 4, "model.layers.1.self_attn.v_proj": 4, "model.layers.11.self_attn.k_proj": 8}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got, err := ValuesByPattern(linears, "dim_pattern", nil); err != nil || len(got) != 0 {
		t.Errorf("no patterns: %v, %v", got, err)
	}
	_, err = ValuesByPattern(linears, "dim_pattern", map[string]int{"": 1, "*.q_proj": 4, "*.layers.3.*.*": 8, "*.o_proj": 2, strings.Repeat("x", 300): 1})
	for _, want := range []string{
		`"*.q_proj" gives it 4`, `"*.o_proj" matches none of the 36 linears`, "has 0", "has 300",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
