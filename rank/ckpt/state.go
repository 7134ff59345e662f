package ckpt

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/export"
	"gorun/model/safetensors"
)

// State is everything a run needs to go on as if it had never stopped. Random numbers have no state of
// their own: they are functions of the seed, the step and the sample.
type State struct {
	Step         int   // optimizer updates done
	Epoch        int   // epoch the next step belongs to, from 0
	Samples      int64 // samples consumed by all ranks since the start
	EpochSamples int64 // of those, the ones of this epoch: the data position
	Tokens       int64 // valid tokens trained on by all ranks since the start
	Seed         int64 // rng.seed of the run

	BaseDigest string // identity of the base (weights.Source.Digest)
	ConfigHash string // identity of the base's config
	Version    string // version of gorun that saved it

	Loss    float64  // training loss of the last step
	ValLoss *float64 // validation loss at this step; nil if it was not measured
	BestVal *float64 // lowest validation loss of the run so far; nil if none was measured

	Recipe string // the effective recipe, as TOML

	// Adapter describes the adapter that Params belong to (names, sizes, scaling; its A and B are
	// not read by Save); nil for full fine-tuning.
	Adapter *export.Adapter

	// Params are the trained parameters. With an adapter: float32, named export.AName and
	// export.BName of each module, A [Dim, In], B [Out, Dim], with DoRA export.MagnitudeName [Out];
	// and its tables, by Hugging Face's names, as all are without an adapter.
	Params []safetensors.Tensor

	// Moment1 and Moment2 are AdamW's averages of the gradient and of its square: float32, one for
	// each of Params, with its name and shape, in any order.
	Moment1, Moment2 []safetensors.Tensor

	files []*safetensors.File // that tensors are pages of; see Map
}

// formatVersion is raised when an older gorun could misread what a newer one writes.
const formatVersion = 1

// stateJSON is state.json.
type stateJSON struct {
	Format       int      `json:"format"`
	Step         int      `json:"step"`
	Epoch        int      `json:"epoch"`
	Samples      int64    `json:"samples"`
	EpochSamples int64    `json:"epoch_samples"`
	Tokens       int64    `json:"tokens"`
	Seed         int64    `json:"seed"`
	BaseDigest   string   `json:"base_digest"`
	ConfigHash   string   `json:"config_hash"`
	Version      string   `json:"gorun_version"`
	Loss         float64  `json:"loss"`
	ValLoss      *float64 `json:"val_loss"`
	BestVal      *float64 `json:"best_val_loss"`
}

func (s *State) encode() ([]byte, error) {
	data, err := json.MarshalIndent(stateJSON{
		Format: formatVersion, Step: s.Step, Epoch: s.Epoch, Samples: s.Samples, EpochSamples: s.EpochSamples,
		Tokens: s.Tokens, Seed: s.Seed, BaseDigest: s.BaseDigest, ConfigHash: s.ConfigHash, Version: s.Version,
		Loss: s.Loss, ValLoss: s.ValLoss, BestVal: s.BestVal,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", stateFile, err)
	}
	return append(data, '\n'), nil
}

// decodeState reads state.json; the tensors, adapter and recipe of the result are empty.
func decodeState(data []byte) (*State, error) {
	var j stateJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, fmt.Errorf("%s: %w", stateFile, err)
	}
	if err := checkFormat(j.Format); err != nil {
		return nil, fmt.Errorf("%s: %w", stateFile, err)
	}
	s := &State{
		Step: j.Step, Epoch: j.Epoch, Samples: j.Samples, EpochSamples: j.EpochSamples, Tokens: j.Tokens,
		Seed: j.Seed, BaseDigest: j.BaseDigest, ConfigHash: j.ConfigHash, Version: j.Version,
		Loss: j.Loss, ValLoss: j.ValLoss, BestVal: j.BestVal,
	}
	if err := errors.Join(s.counterFaults()...); err != nil {
		return nil, fmt.Errorf("%s: %w", stateFile, err)
	}
	return s, nil
}

func checkFormat(format int) error {
	switch {
	case format > formatVersion:
		return fmt.Errorf("format %d was written by a newer gorun, this one reads up to %d: upgrade gorun", format, formatVersion)
	case format < 1:
		return fmt.Errorf("format is %d, want 1 to %d: this is not gorun's", format, formatVersion)
	}
	return nil
}

func (s *State) counterFaults() []error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for name, v := range map[string]int64{"step": int64(s.Step), "epoch": int64(s.Epoch), "samples": s.Samples,
		"epoch_samples": s.EpochSamples, "tokens": s.Tokens} {
		if v < 0 {
			bad("%s is %d, want 0 or more", name, v)
		}
	}
	if s.EpochSamples > s.Samples {
		bad("epoch_samples is %d, more than samples, which is %d", s.EpochSamples, s.Samples)
	}
	for _, x := range []struct {
		name string
		v    *float64
	}{{"loss", &s.Loss}, {"val_loss", s.ValLoss}, {"best_val_loss", s.BestVal}} {
		if x.v != nil && (math.IsNaN(*x.v) || math.IsInf(*x.v, 0)) {
			bad("%s is %v: the run has diverged; resume from an earlier checkpoint with a lower learning rate", x.name, *x.v)
			break // the others come from this one
		}
	}
	return faults
}

// Validate reports everything that keeps the state from being saved or, if it has moments, resumed from, joined.
func (s *State) Validate() error {
	faults := s.counterFaults()
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(s.Params) == 0 {
		bad("no parameters: there is nothing to save")
	}
	params, err := byName("parameter", s.Params)
	faults = append(faults, err)
	if s.Adapter != nil {
		faults = append(faults, s.adapterFaults(params)...)
	}
	for _, m := range []struct {
		what string
		list []safetensors.Tensor
	}{{"moment1", s.Moment1}, {"moment2", s.Moment2}} {
		moments, err := byName(m.what, m.list)
		faults = append(faults, err)
		if len(s.Moment1)+len(s.Moment2) == 0 { // checkpoint.save_optimizer was false
			break
		}
		for _, p := range s.Params {
			t, ok := moments[p.Name]
			switch {
			case !ok:
				bad("%s of %q is missing", m.what, p.Name)
			case t.DType != dtypes.Float32:
				bad("%s of %q is %s, want float32", m.what, p.Name, t.DType)
			case !slices.Equal(t.Shape, p.Shape):
				bad("%s of %q is %v, the parameter %v", m.what, p.Name, t.Shape, p.Shape)
			}
		}
		for _, t := range m.list {
			if _, ok := params[t.Name]; !ok {
				bad("%s of %q belongs to no parameter", m.what, t.Name)
			}
		}
	}
	return errors.Join(faults...)
}

// adapterFaults checks that Params are exactly the adapter's matrices.
func (s *State) adapterFaults(params map[string]*safetensors.Tensor) []error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	want := adapterShapes(s.Adapter)
	if len(s.Params) != len(want) {
		bad("%d parameters for an adapter of %d modules, want %d", len(s.Params), len(s.Adapter.Modules), len(want))
	}
	for name, shape := range want {
		t, ok := params[name]
		switch {
		case !ok:
			bad("parameter %q of the adapter is missing", name)
		case t.DType != dtypes.Float32 || !slices.Equal(t.Shape, shape):
			bad("parameter %q is %s%v, want float32%v", name, t.DType, t.Shape, shape)
		}
	}
	return faults
}

// adapterShapes are the shapes of an adapter's parameters, by name.
func adapterShapes(a *export.Adapter) map[string][]int {
	out := map[string][]int{}
	for i := range a.Modules {
		m := &a.Modules[i]
		dim := a.DimOf(m)
		out[export.AName(m.Name)], out[export.BName(m.Name)] = []int{dim, m.In}, []int{m.Out, dim}
		if a.DoRA() {
			out[export.MagnitudeName(m.Name)] = []int{m.Out}
		}
	}
	for _, t := range a.Tables {
		out[t.Name] = []int{t.Rows, t.Cols}
	}
	return out
}

// byName indexes tensors and reports names used twice, dtypes that are not of weights and sizes that do
// not fit, joined.
func byName(what string, list []safetensors.Tensor) (map[string]*safetensors.Tensor, error) {
	var faults []error
	index := make(map[string]*safetensors.Tensor, len(list))
	for i := range list {
		t := &list[i]
		if index[t.Name] != nil {
			faults = append(faults, fmt.Errorf("%s %q is given twice", what, t.Name))
		}
		index[t.Name] = t
		var n int
		switch t.DType {
		case dtypes.Float32:
			n = 4
		case dtypes.BFloat16, dtypes.Float16:
			n = 2
		default:
			faults = append(faults, fmt.Errorf("%s %q is %s, want float32, bfloat16 or float16", what, t.Name, t.DType))
			continue
		}
		for _, d := range t.Shape {
			n *= d
		}
		if n != len(t.Data) {
			faults = append(faults, fmt.Errorf("%s %q has %d bytes, want %d for %s%v", what, t.Name, len(t.Data), n, t.DType, t.Shape))
		}
	}
	return index, errors.Join(faults...)
}

// filledAdapter returns the adapter with A and B taken from Params. The state is valid.
func (s *State) filledAdapter() export.Adapter {
	params, _ := byName("parameter", s.Params)
	a := *s.Adapter
	a.Modules = slices.Clone(a.Modules)
	for i := range a.Modules {
		m := &a.Modules[i]
		m.A = floats(params[export.AName(m.Name)].Data)
		m.B = floats(params[export.BName(m.Name)].Data)
		if s.Adapter.DoRA() {
			m.Magnitude = floats(params[export.MagnitudeName(m.Name)].Data)
		}
	}
	a.Tables = slices.Clone(a.Tables)
	for i := range a.Tables {
		a.Tables[i].Values = floats(params[a.Tables[i].Name].Data)
	}
	return a
}

// takeAdapter sets Params from an adapter that was read, and keeps its description.
func (s *State) takeAdapter(a *export.Adapter) {
	s.Adapter = a
	for i := range a.Modules {
		m := &a.Modules[i]
		s.Params = append(s.Params,
			safetensors.Tensor{Name: export.AName(m.Name), DType: dtypes.Float32, Shape: []int{m.Dim, m.In}, Data: floatBytes(m.A)},
			safetensors.Tensor{Name: export.BName(m.Name), DType: dtypes.Float32, Shape: []int{m.Out, m.Dim}, Data: floatBytes(m.B)})
		m.A, m.B = nil, nil
		if m.Magnitude != nil {
			s.Params = append(s.Params, safetensors.Tensor{Name: export.MagnitudeName(m.Name), DType: dtypes.Float32, Shape: []int{m.Out}, Data: floatBytes(m.Magnitude)})
			m.Magnitude = []float32{}
		}
	}
	a.Tables = a.TrainedTables()
	for i := range a.Tables {
		t := &a.Tables[i]
		s.Params = append(s.Params, safetensors.Tensor{Name: t.Name, DType: dtypes.Float32, Shape: []int{t.Rows, t.Cols}, Data: floatBytes(t.Values)})
		t.Values = nil
	}
}

func floats(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

func floatBytes(values []float32) []byte {
	out := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(v))
	}
	return out
}

// CheckBase compares the base the state was trained on with the one that is there now.
func (s *State) CheckBase(digest string) error {
	if s.BaseDigest == digest {
		return nil
	}
	return fmt.Errorf("the checkpoint at step %d was trained on another base (digest %s, now %s): "+
		"give model.pretrained_model_name_or_path as it was, or begin afresh with checkpoint.resume = \"never\"",
		s.Step, brief(s.BaseDigest), brief(digest))
}

// brief is enough of a digest to tell it from another.
func brief(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest[:min(12, len(digest))]
}
