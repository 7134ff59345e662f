package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
)

// peftVersion is the release whose adapter_config.json is written, field for field.
const peftVersion = "0.21.2"

// configJSON returns adapter_config.json, byte for byte what PEFT's save_pretrained writes for the same
// LoraConfig, but that target_modules is sorted (PEFT's order is that of a Python set). Fields that gorun
// has no use for have PEFT's defaults.
func configJSON(a *Adapter) ([]byte, error) {
	names := make([]string, len(a.Modules))
	for i := range a.Modules {
		names[i] = a.Modules[i].Name
	}
	alphas := pattern(a, a.Alpha, func(m *Module) float64 { return a.AlphaOf(m) })
	for name, v := range alphas {
		alphas[name] = pyNumber(v.(float64))
	}
	fields := map[string]any{
		"alora_invocation_tokens": nil,
		"alpha_pattern":           alphas,
		"arrow_config":            nil,
		"auto_mapping":            nil,
		"base_model_name_or_path": orNull(a.Base),
		"bias":                    "none",
		"corda_config":            nil,
		"ensure_weight_tying":     a.Tied && len(a.Tables) > 0,
		"eva_config":              nil,
		"exclude_modules":         nil,
		"fan_in_fan_out":          false,
		"inference_mode":          true,
		"init_lora_weights":       true,
		"kasa_config":             nil,
		"layer_replication":       nil,
		"layers_pattern":          nil,
		"layers_to_transform":     nil,
		"loftq_config":            map[string]any{},
		"lora_alpha":              pyNumber(a.Alpha),
		"lora_bias":               false,
		"lora_dropout":            pyFloat(a.Dropout),
		"lora_ga_config":          nil,
		"megatron_config":         nil,
		"megatron_core":           "megatron.core",
		"modules_to_save":         orNone(a.saved()),
		"monteclora_config":       nil,
		"peft_type":               "LORA",
		"peft_version":            peftVersion,
		"qalora_group_size":       16,
		"r":                       a.Dim,
		"rank_pattern":            pattern(a, a.Dim, func(m *Module) int { return a.DimOf(m) }),
		"revision":                orNull(a.Revision),
		"target_modules":          targets(names, a.Linears),
		"target_parameters":       nil,
		"task_type":               "CAUSAL_LM",
		"trainable_token_indices": nil,
		"use_bdlora":              nil,
		"use_dora":                a.DoRA(),
		"use_qalora":              false,
		"use_rslora":              a.RSLoRA,
		"velora_config":           nil,
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(fields); err != nil {
		return nil, fmt.Errorf("encode %s: %w", ConfigFile, err)
	}
	return asciiJSON(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

func orNone(list []string) any {
	if list == nil {
		return nil
	}
	return list
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// pyNumber writes an integral value as an integer, as users give it to PEFT, others as Python's repr.
func pyNumber(v float64) json.Number {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return json.Number(strconv.FormatInt(int64(v), 10))
	}
	return pyFloat(v)
}

// pyFloat writes a finite float as Python's repr does: shortest digits that read back the same, a
// decimal point always, an exponent below 1e-4 and from 1e16.
func pyFloat(v float64) json.Number {
	if abs := math.Abs(v); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return json.Number(strconv.FormatFloat(v, 'e', -1, 64))
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return json.Number(s)
}

// asciiJSON escapes everything beyond ASCII, as Python's json.dumps does; in JSON that is only found
// inside strings.
func asciiJSON(src []byte) []byte {
	dst := make([]byte, 0, len(src))
	for _, r := range string(src) {
		switch {
		case r < 0x80:
			dst = append(dst, byte(r))
		case r < 0x10000:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			hi, lo := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, hi, lo)
		}
	}
	return dst
}
