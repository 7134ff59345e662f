package spec

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden is what transformers makes of one config.json (tools/oracle/spec.py).
type golden struct {
	Name         string           `json:"name"`
	Config       json.RawMessage  `json:"config"`
	Family       string           `json:"family"`
	Layers       int              `json:"layers"`
	Heads        int              `json:"heads"`
	KVHeads      int              `json:"kv_heads"`
	HeadDim      int              `json:"head_dim"`
	MaxPositions int              `json:"max_positions"`
	Eps          float64          `json:"eps"`
	Tied         bool             `json:"tied"`
	BOS          int              `json:"bos"`
	EOS          []int            `json:"eos"`
	Pad          int              `json:"pad"`
	DType        string           `json:"dtype"`
	TensorCount  int              `json:"tensor_count"`
	Tensors      map[string][]int `json:"tensors"` // outside the blocks, and the last block
	Params       int64            `json:"params"`
	Ropes        []struct {
		Seq   int       `json:"seq"`
		Inv   []float32 `json:"inv"`
		Scale float32   `json:"scale"`
	} `json:"ropes"`
	Slides     []bool    `json:"slides"` // of families that say it by layer
	Window     int       `json:"window"`
	LocalTheta float64   `json:"local_theta"`
	Variants   []float64 `json:"variants"` // scale and cap of scores, cap of logits, multipliers of embedding, residual and logits
	Mixture    *struct {
		Experts   int     `json:"experts"`
		PerToken  int     `json:"per_token"`
		Normalize bool    `json:"normalize"`
		Balance   float64 `json:"balance"`
		Plain     []bool  `json:"plain"`
	} `json:"mixture"`
}

func goldens(t *testing.T) map[string]golden {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "configs.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []golden
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]golden, len(list))
	for _, g := range list {
		byName[g.Name] = g
	}
	return byName
}

func parsed(t *testing.T, name string) *Decoder {
	t.Helper()
	g, ok := goldens(t)[name]
	if !ok {
		t.Fatalf("no golden %q", name)
	}
	d, err := Parse(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestParseAgreesWithTransformers(t *testing.T) {
	for name, g := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			d, err := Parse(g.Config)
			if err != nil {
				t.Fatal(err)
			}
			dtype := ""
			if d.DType != 0 {
				dtype = map[string]string{"Float32": "float32", "BFloat16": "bfloat16", "Float16": "float16"}[d.DType.String()]
			}
			type sizes struct {
				Family                          string
				Layers, Heads, KVHeads, HeadDim int
				MaxPositions                    int
				Eps                             float64
				Tied                            bool
				BOS                             int
				EOS                             []int
				Pad                             int
				DType                           string
				Params                          int64
				TensorCount                     int
			}
			got := sizes{d.Family, d.Layers, d.Heads, d.KVHeads, d.HeadDim, d.MaxPositions, d.NormEps, d.TiedHead, d.BOS, slices.Concat([]int{}, d.EOS), d.Pad, dtype, d.Params().Total, len(d.Tensors())}
			want := sizes{g.Family, g.Layers, g.Heads, g.KVHeads, g.HeadDim, g.MaxPositions, g.Eps, g.Tied, g.BOS, slices.Concat([]int{}, g.EOS), g.Pad, g.DType, g.Params, g.TensorCount}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("sizes (-transformers +ours):\n%s", diff)
			}
			shapes := make(map[string][]int)
			for _, tensor := range d.Tensors() {
				if _, ok := g.Tensors[tensor.Name]; ok {
					shapes[tensor.Name] = tensor.Shape
				}
			}
			if diff := cmp.Diff(g.Tensors, shapes); diff != "" {
				t.Errorf("tensors (-transformers +ours):\n%s", diff)
			}
		})
	}
}

// TestVariantsAgreeWithTransformers: what only some families have.
func TestVariantsAgreeWithTransformers(t *testing.T) {
	met := 0
	for name, g := range goldens(t) {
		if g.Variants == nil {
			continue
		}
		met++
		d := parsed(t, name)
		got := []float64{d.AttentionScale, d.AttentionCap, d.LogitCap, d.EmbedScale, d.ResidualScale, d.LogitScale}
		for i, want := range g.Variants {
			if math.Abs(got[i]-want) > 1e-15*want {
				t.Errorf("%s: variant %d is %v, want %v", name, i, got[i], want)
			}
		}
		local := 0.0
		if d.LocalRope != nil {
			local = d.LocalRope.Theta
		}
		if local != g.LocalTheta {
			t.Errorf("%s: theta of sliding layers %v, want %v", name, local, g.LocalTheta)
		}
		for i, slides := range g.Slides {
			window := 0
			if slides {
				window = g.Window
			}
			if d.Window[i] != window {
				t.Errorf("%s: layer %d sees %d keys, want %d", name, i, d.Window[i], window)
			}
		}
	}
	if met < 7 {
		t.Errorf("goldens of %d models with variants", met)
	}
}

// TestMixturesAgreeWithTransformers: how many experts there are, how many a token goes through, and where.
func TestMixturesAgreeWithTransformers(t *testing.T) {
	met := 0
	for name, g := range goldens(t) {
		d := parsed(t, name)
		if (g.Mixture == nil) != (d.Mixture == nil) {
			t.Errorf("%s: a mixture %v, transformers has %v", name, d.Mixture, g.Mixture)
		}
		if g.Mixture == nil || d.Mixture == nil {
			continue
		}
		met++
		got, want := *d.Mixture, *g.Mixture
		if got.Experts != want.Experts || got.PerToken != want.PerToken || got.Normalize != want.Normalize || got.Balance != want.Balance {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		for layer, plain := range want.Plain {
			if d.Sparse(layer) == plain {
				t.Errorf("%s: layer %d has experts: %t, want %t", name, layer, plain, !plain)
			}
		}
	}
	if met != 5 {
		t.Errorf("goldens of %d mixtures", met)
	}
}

// TestInvFreqAgreesWithTransformers allows two units in the last place of float32: torch's vectorised
// pow is not correctly rounded, and differs between machines by as much.
func TestInvFreqAgreesWithTransformers(t *testing.T) {
	kinds := make(map[string]bool)
	for name, g := range goldens(t) {
		d, err := Parse(g.Config)
		if err != nil {
			t.Fatal(err)
		}
		kinds[d.Rope.Kind] = true
		for _, want := range g.Ropes {
			inv, scale := d.Rope.InvFreq(want.Seq)
			if len(inv) != len(want.Inv) {
				t.Fatalf("%s: seq %d: %d frequencies, want %d", name, want.Seq, len(inv), len(want.Inv))
			}
			if scale != want.Scale {
				t.Errorf("%s: seq %d: scale %v, want %v", name, want.Seq, scale, want.Scale)
			}
			worst, at := 0.0, 0
			for i := range inv {
				if e := math.Abs(float64(inv[i])/float64(want.Inv[i]) - 1); e > worst {
					worst, at = e, i
				}
			}
			if worst > 2.4e-7 {
				t.Errorf("%s: seq %d: frequency %d is %v, want %v (relative %.1e)", name, want.Seq, at, inv[at], want.Inv[at], worst)
			}
		}
	}
	for _, kind := range anyRope {
		if !kinds[kind] {
			t.Errorf("no golden has rope kind %q", kind)
		}
	}
}

// TestPublishedFLOPs checks the four figures of NeMo AutoModel: LoRA of 16 on every projection, 4096 tokens.
func TestPublishedFLOPs(t *testing.T) {
	for name, want := range map[string]float64{
		"llama-3-8b": 32.25, "qwen2.5-7b": 30.00, "qwen2.5-32b": 133.58, "llama-3-70b": 289.17,
	} {
		d := parsed(t, name)
		linears, err := MatchLinears(d, []string{"*_proj"}, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		got := d.FLOPsPerToken(4096, LoRAParams(linears, 16)) / 1e9
		if math.Abs(got-want) > 0.005 {
			t.Errorf("%s: %.3f GFLOP per token, published %.2f", name, got, want)
		}
	}
}

func TestParams(t *testing.T) {
	d := parsed(t, "llama-3-8b")
	if got, want := d.Params(), (ParamCount{Total: 8030261248, Active: 8030261248, Linear: 7504658432, Embedding: 525336576}); got != want {
		t.Errorf("Llama-3-8B: %+v, want %+v", got, want)
	}
	linears, err := MatchLinears(d, nil, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := LoRAParams(linears, 16); got != 41943040 { // as PEFT prints for r=16 on all linears
		t.Errorf("LoRA parameters: %d, want 41943040", got)
	}
	for name, billions := range map[string][2]float64{"mixtral-8x7b": {46.7, 12.9}, "qwen3-30b-a3b": {30.5, 3.3}} { // as their makers publish them
		p := parsed(t, name).Params()
		for i, n := range []int64{p.Total, p.Active} {
			if got := float64(n) / 1e9; math.Abs(got-billions[i]) > 0.06 {
				t.Errorf("%s: %.2f billion parameters, want %.1f", name, got, billions[i])
			}
		}
	}
	tied := parsed(t, "smollm2-135m")
	if got := tied.Params(); got.Total != 134515008 || got.Linear != got.Total-61*576 {
		t.Errorf("SmolLM2-135M: %+v", got)
	}
	if full, lora := d.FLOPsPerToken(4096, 0), d.FLOPsPerToken(4096, 1); full < 1.49*lora || full > 1.51*lora {
		t.Errorf("full fine-tuning costs %.3g, LoRA %.3g: want 3 to 2", full, lora)
	}
}
