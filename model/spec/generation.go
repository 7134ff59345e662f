package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// AddGenerationConfig adds the end-of-generation ids of a generation_config.json to EOS. Instruct models
// name the end of a turn only there.
func (d *Decoder) AddGenerationConfig(raw []byte) error {
	if len(raw) > maxConfigBytes {
		return fmt.Errorf("generation_config.json: %d bytes, at most %d are read", len(raw), maxConfigBytes)
	}
	var faults []error
	f := fields{faults: &faults}
	if err := json.Unmarshal(raw, &f.raw); err != nil {
		return fmt.Errorf("generation_config.json: not a JSON object: %w", err)
	}
	for _, id := range f.ints("eos_token_id", nil) {
		if id >= 0 && id < d.Vocab && !slices.Contains(d.EOS, id) {
			d.EOS = append(d.EOS, id)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("generation_config.json: %w", err)
	}
	return nil
}
