package spec

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
)

// ropeFromConfig reads the rotary embedding in any of its spellings. As in transformers, rope_scaling
// wins over rope_parameters, keys inside win over rope_theta and partial_rotary_factor outside, and an
// original_max_position_embeddings outside wins over one inside.
func ropeFromConfig(f fields, fam family, d *Decoder) Rope {
	p, ok := f.object("rope_scaling")
	if !ok {
		p, ok = f.object("rope_parameters")
	}
	if !ok {
		p = fields{faults: f.faults}
	}
	if fam.localTheta == 0 {
		p = perLayerType(p)
	} else if full, ok := p.object(fullAttention); ok {
		p = full
	}

	r := Rope{Theta: p.float("rope_theta", f.float("rope_theta", fam.theta))}
	r.Kind = p.string("rope_type", p.string("type", "default"))
	if fam.name == "phi3" && (r.Kind == "su" || r.Kind == "yarn") {
		r.Kind = "longrope" // the older names of Phi-3's own kind
	}
	if !slices.Contains(fam.ropeKinds, r.Kind) {
		p.fail("rope_type", "is %q; a %s model may have: %s", r.Kind, fam.name, strings.Join(fam.ropeKinds, ", "))
		r.Kind = "default"
	}
	r.Dim = rotaryDim(f, p, fam, d.HeadDim)

	original := d.MaxPositions
	switch {
	case f.has("original_max_position_embeddings"):
		original = f.int("original_max_position_embeddings", original)
	case fam.originalMax != 0:
		original = fam.originalMax
	default:
		original = p.int("original_max_position_embeddings", original)
	}

	r.scale(p, d.MaxPositions, original)
	return r
}

// scale reads what the kind of rope has besides: for a model of so many positions, of which it was trained on the
// original ones.
func (r *Rope) scale(p fields, positions, original int) {
	need := func(keys ...string) {
		for _, key := range keys {
			if !p.has(key) {
				p.fail(key, "is missing; rope type %q needs it", r.Kind)
			}
		}
	}
	switch r.Kind {
	case "linear":
		need("factor")
		r.Factor = p.float("factor", 1)
	case "dynamic":
		need("factor")
		r.Factor = p.float("factor", 1)
		r.OriginalMaxPositions = positions
	case "llama3":
		need("factor", "low_freq_factor", "high_freq_factor")
		r.Factor = p.float("factor", 1)
		r.LowFreqFactor = p.float("low_freq_factor", 1)
		r.HighFreqFactor = p.float("high_freq_factor", 4)
		r.OriginalMaxPositions = original
	case "yarn":
		r.OriginalMaxPositions = original
		r.Factor = p.float("factor", ratio(positions, original))
		r.BetaFast = orDefault(p.float("beta_fast", 0), 32)
		r.BetaSlow = orDefault(p.float("beta_slow", 0), 1)
		r.NoTruncate = !p.bool("truncate", true)
		r.AttentionFactor = yarnAttention(p, r.Factor)
	case "longrope":
		r.OriginalMaxPositions = original
		r.Factor = p.float("factor", ratio(positions, original))
		r.AttentionFactor = attentionFactor(p)
		r.ShortFactor = p.floats("short_factor")
		r.LongFactor = p.floats("long_factor")
		for _, list := range []struct {
			key    string
			values []float64
		}{{"short_factor", r.ShortFactor}, {"long_factor", r.LongFactor}} {
			if err := checkFactors(p.prefix+list.key, list.values, r.Dim); err != nil {
				*p.faults = append(*p.faults, err)
			}
		}
	}
}

// perLayerType unwraps rope_parameters nested by layer type. The families here rotate every layer alike,
// so different parameters per type are refused.
func perLayerType(p fields) fields {
	var first fields
	var firstKey string
	for _, key := range []string{fullAttention, slidingAttention} {
		if !p.present(key) {
			continue
		}
		sub, ok := p.object(key)
		if !ok {
			p.fail(key, "has no rotary parameters; layer types without rotary are not supported")
			return fields{faults: p.faults}
		}
		if firstKey == "" {
			first, firstKey = sub, key
			continue
		}
		if !sameObject(first.raw, sub.raw) {
			p.fail(key, "differs from %s; rotary parameters per layer type are not supported", firstKey)
		}
	}
	if firstKey == "" {
		return p
	}
	return first
}

func sameObject(a, b map[string]json.RawMessage) bool {
	decode := func(m map[string]json.RawMessage) map[string]any {
		out := make(map[string]any, len(m))
		for k, v := range m {
			var x any
			if json.Unmarshal(v, &x) == nil {
				out[k] = x
			}
		}
		return out
	}
	return reflect.DeepEqual(decode(a), decode(b))
}

// rotaryDim is the rotated part of a head, cut down to an integer as transformers does.
func rotaryDim(f, p fields, fam family, headDim int) int {
	source := p
	if !p.has("partial_rotary_factor") {
		source = f
	}
	part := source.float("partial_rotary_factor", 1)
	if part == 1 {
		return headDim
	}
	if !fam.partialRope {
		source.fail("partial_rotary_factor", "is %g; a %s model rotates whole heads", part, fam.name)
		return headDim
	}
	if !(part > 0 && part < 1) {
		source.fail("partial_rotary_factor", "is %g, must be over 0 and at most 1", part)
		return headDim
	}
	return int(float64(headDim) * part)
}

// attentionFactor reads an explicit attention_factor; 0 when it is left to be derived.
func attentionFactor(p fields) float64 {
	if !p.has("attention_factor") {
		return 0
	}
	x := p.float("attention_factor", 1)
	if !(x > 0) {
		p.fail("attention_factor", "is %g, must be positive", x)
	}
	return x
}

// yarnAttention is the explicit attention_factor, or the one that mscale and mscale_all_dim give.
func yarnAttention(p fields, factor float64) float64 {
	if x := attentionFactor(p); x != 0 {
		return x
	}
	mscale, all := p.float("mscale", 0), p.float("mscale_all_dim", 0)
	if mscale == 0 || all == 0 {
		return 0
	}
	return yarnScale(factor, mscale) / yarnScale(factor, all)
}

// yarnScale is the YaRN paper's attention temperature, 0.1 m ln(factor) + 1.
func yarnScale(factor, m float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*m*math.Log(factor) + 1
}

func orDefault(x, def float64) float64 {
	if x == 0 {
		return def
	}
	return x
}

// ratio is a/b; 0, which is refused later, when b is not positive.
func ratio(a, b int) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}
