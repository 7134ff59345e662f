package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// config is what reading needs of adapter_config.json.
type config struct {
	base, revision string
	dim            int
	alpha, dropout float64
	rsLoRA, dora   bool
	saved          []string // modules_to_save: names or their ends
	tied           bool     // ensure_weight_tying
	target         *matcher // nil: PEFT chose the modules by the base's architecture
	exclude        *matcher // nil: nothing excluded
	layers         *layerSet
	ranks          []patternEntry // rank_pattern, in the file's order
	alphas         []patternEntry // alpha_pattern, in the file's order
}

// Fields that change what an adapter computes in ways gorun does not, and what to do about each. They
// must be absent or have a value that turns them off: null, false, {}, [] or "".
var unsupported = map[string]string{
	"lora_bias":               "biases on B are not supported: train with lora_bias=False, or merge the adapter into its base with PEFT",
	"fan_in_fan_out":          "transposed base weights (Conv1D of GPT-2) are not supported: use a base whose linears are [out, in]",
	"trainable_token_indices": "trained token embeddings are not supported: merge the adapter into its base with PEFT",
	"target_parameters":       "adapters on bare parameters are not supported: target the linears by module name",
	"layer_replication":       "replicated layers are not supported: merge the adapter into its base with PEFT",
	"use_qalora":              "QALoRA is not supported: train with use_qalora=False",
	"alora_invocation_tokens": "activated LoRA is not supported: train without alora_invocation_tokens",
	"megatron_config":         "Megatron's parallel linears are not supported: save the adapter from the transformers model",
	"use_bdlora":              "block-diagonal LoRA is not supported: train without use_bdlora",
	"arrow_config":            "arrow routing is not supported: give one plain LoRA adapter",
	"monteclora_config":       "MonteCLoRA is not supported: train without monteclora_config",
	"kasa_config":             "KaSA is not supported: merge the adapter into its base with PEFT",
	"velora_config":           "VeLoRA is not supported: train without velora_config",
}

// Fields that are read, or that do not matter once an adapter is trained.
var supported = []string{
	"alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying",
	"eva_config", "exclude_modules", "inference_mode", "init_lora_weights", "layers_pattern",
	"layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_core",
	"modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config",
	"target_modules", "task_type", "use_dora", "use_rslora",
}

// Initialisations that change the base's own weights, so that the adapter alone is not the difference
// between base and result.
var changesBase = []string{"pissa", "olora", "corda", "lora_ga", "loftq"}

// parseConfig reads adapter_config.json as PEFT does, and reports all faults joined.
func parseConfig(data []byte) (*config, error) {
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(data), maxConfigBytes)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	p := fieldParser{fields: fields}
	c := &config{}

	var peftType, taskType, bias string
	switch p.get("peft_type", &peftType); {
	case peftType == "" && p.off("peft_type"):
		p.bad("peft_type is missing: this is not PEFT's adapter_config.json")
	case peftType != "" && peftType != "LORA":
		p.bad("peft_type %q is not supported, only LORA", peftType)
	}
	if p.get("task_type", &taskType); taskType != "" && taskType != "CAUSAL_LM" {
		p.bad("task_type %q is not supported, only CAUSAL_LM", taskType)
	}
	if p.get("bias", &bias); bias != "" && bias != "none" {
		p.bad("bias %q is not supported: train with bias=\"none\", or merge the adapter into its base with PEFT", bias)
	}
	for _, name := range slices.Sorted(maps.Keys(unsupported)) {
		if !p.off(name) {
			p.bad("%s: %s", name, unsupported[name])
		}
	}
	p.initialisation()
	p.get("base_model_name_or_path", &c.base)
	p.get("revision", &c.revision)
	p.get("use_rslora", &c.rsLoRA)
	p.get("use_dora", &c.dora)
	p.get("modules_to_save", &c.saved)
	p.get("ensure_weight_tying", &c.tied)
	p.faults = append(p.faults, c.savedFaults()...)
	c.dim, c.alpha = 8, 8 // PEFT's defaults
	p.get("r", &c.dim)
	p.get("lora_alpha", &c.alpha)
	p.get("lora_dropout", &c.dropout)
	if c.dim < 1 || c.dim > maxDim {
		p.bad("r is %d, want 1 to %d", c.dim, maxDim)
	}
	if !(c.alpha > 0) {
		p.bad("lora_alpha is %v, want a positive number", c.alpha)
	}
	if !(c.dropout >= 0 && c.dropout < 1) {
		p.bad("lora_dropout is %v, want 0 up to but not including 1", c.dropout)
	}
	c.target = p.matcher("target_modules")
	c.exclude = p.matcher("exclude_modules")
	c.layers = p.layerSet()
	c.ranks = p.patterns("rank_pattern", func(v float64) bool { return v == math.Trunc(v) && v >= 1 && v <= maxDim })
	c.alphas = p.patterns("alpha_pattern", func(v float64) bool { return v > 0 })
	p.unknown()
	return c, errors.Join(p.faults...)
}

// covers says that PEFT makes an adapter for a linear of this name, given this configuration.
func (c *config) covers(name string) bool {
	if c.exclude != nil && c.exclude.match(name) {
		return false
	}
	if c.target == nil || c.target.exact(name) {
		return true
	}
	return c.target.match(name) && (c.layers == nil || c.layers.match(name))
}

// fieldParser takes typed values out of the object and gathers faults.
type fieldParser struct {
	fields      map[string]json.RawMessage
	faults      []error
	regexpNodes int // see maxRegexpNodes
}

func (p *fieldParser) bad(format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf(format, args...))
}

// get decodes a field into dst, which stays as it is when the field is absent or null.
func (p *fieldParser) get(name string, dst any) {
	raw, ok := p.fields[name]
	if !ok {
		return
	}
	if err := json.Unmarshal(raw, dst); err != nil {
		p.bad("%s is %s: %w", name, abbreviate(raw), err)
	}
}

// off says that a field is absent or has a value that turns it off.
func (p *fieldParser) off(name string) bool {
	raw, ok := p.fields[name]
	if !ok {
		return true
	}
	switch string(bytes.Join(bytes.Fields(raw), nil)) {
	case "null", "false", "{}", "[]", `""`:
		return true
	}
	return false
}

func (p *fieldParser) initialisation() {
	raw, ok := p.fields["init_lora_weights"]
	if !ok {
		return
	}
	var name string
	if json.Unmarshal(raw, &name) != nil {
		return // true, false or null
	}
	for _, prefix := range changesBase {
		if strings.HasPrefix(strings.ToLower(name), prefix) {
			p.bad("init_lora_weights %q changed the base's own weights: save the adapter again with "+
				"path_initial_model_for_weight_conversion, as PEFT's documentation of %s says", name, name)
			return
		}
	}
}

// unknown reports fields of newer PEFT releases that are turned on: they may change the result.
func (p *fieldParser) unknown() {
	for _, name := range slices.Sorted(maps.Keys(p.fields)) {
		if _, known := unsupported[name]; known || slices.Contains(supported, name) || p.off(name) {
			continue
		}
		p.bad("%s is not a field of PEFT %s, and it is set to %s: remove it if it does not change the adapter's result",
			name, peftVersion, abbreviate(p.fields[name]))
	}
}

// patterns decodes rank_pattern or alpha_pattern in the file's order, since the first match wins.
func (p *fieldParser) patterns(name string, valid func(float64) bool) []patternEntry {
	if p.off(name) {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(p.fields[name]))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		p.bad("%s is %s, want an object", name, abbreviate(p.fields[name]))
		return nil
	}
	var out []patternEntry
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			p.bad("%s: %w", name, err)
			return nil
		}
		var v float64
		if err := dec.Decode(&v); err != nil {
			p.bad("%s[%q]: %w", name, key, err)
			continue
		}
		if !valid(v) {
			p.bad("%s[%q] is %v, out of range", name, key, v)
			continue
		}
		e, err := p.patternEntry(fmt.Sprint(key), v)
		if err != nil {
			p.bad("%s[%q]: %w", name, key, err)
			continue
		}
		out = append(out, e)
	}
	return out
}

// abbreviate shortens a JSON value for a message.
func abbreviate(raw json.RawMessage) string {
	const most = 60
	if len(raw) > most {
		return strings.ToValidUTF8(string(raw[:most]), "") + "..."
	}
	return string(raw)
}
