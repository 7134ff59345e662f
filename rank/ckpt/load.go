package ckpt

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"gorun/model/export"
	"gorun/model/safetensors"
)

// Load reads a checkpoint. Nothing is returned unless every file is what was saved (size and SHA-256 of
// the manifest) and the parts fit together; otherwise the error is ErrNotWhole, or says what does not
// fit. The caller compares the base (CheckBase) and the recipe (RecipeDrift).
func Load(path string) (*State, error) {
	s, err := load(path, safetensors.ReadAll)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return s, nil
}

// Map is Load for a state that need not fit in memory: its weights and moments are pages of the checkpoint's files, read
// when they are touched, read-only, and gone with Close.
func Map(path string) (*State, error) {
	var files []*safetensors.File
	s, err := load(path, func(path string) ([]safetensors.Tensor, map[string]string, error) {
		f, err := safetensors.Open(path)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
		return views(f)
	})
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", path, errors.Join(err, (&State{files: files}).Close()))
	}
	s.files = files
	return s, nil
}

// views are a mapped file's tensors.
func views(f *safetensors.File) (out []safetensors.Tensor, metadata map[string]string, err error) {
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		data, err := f.Bytes(name)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, safetensors.Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: data})
	}
	return out, f.Metadata(), nil
}

// Close gives up the files of a state from Map; others have none.
func (s *State) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}

// reader reads all tensors of a file, and its metadata.
type reader func(path string) ([]safetensors.Tensor, map[string]string, error)

func load(path string, read reader) (*State, error) {
	m, err := verify(path)
	if err != nil {
		return nil, err
	}
	data, err := export.ReadBounded(filepath.Join(path, stateFile), maxStateBytes)
	if err != nil {
		return nil, err
	}
	s, err := decodeState(data)
	if err != nil {
		return nil, err
	}
	recipe, err := export.ReadBounded(filepath.Join(path, recipeFile), maxRecipeBytes)
	if err != nil {
		return nil, err
	}
	s.Recipe = string(recipe)
	if err := errors.Join(readParams(path, m, s, read), readOptimizer(path, s, read)); err != nil {
		return nil, err
	}
	return s, s.Validate()
}

func readParams(path string, m *manifest, s *State, read reader) error {
	hasAdapter, hasModel := m.has(export.WeightsFile) && m.has(export.ConfigFile), m.has(modelFile)
	switch {
	case hasAdapter && hasModel:
		return fmt.Errorf("%w: it has both %s and %s", ErrNotWhole, export.WeightsFile, modelFile)
	case hasAdapter:
		a, err := export.ReadPEFT(path)
		if err != nil {
			return err
		}
		s.takeAdapter(a)
		return nil
	case hasModel:
		var err error
		if s.Params, _, err = read(filepath.Join(path, modelFile)); err != nil {
			return fmt.Errorf("%s: %w", modelFile, err)
		}
		return nil
	}
	return fmt.Errorf("%w: it has neither %s nor %s", ErrNotWhole, export.WeightsFile, modelFile)
}

func readOptimizer(path string, s *State, read reader) error {
	all, metadata, err := read(filepath.Join(path, optimizerFile))
	if err != nil {
		return fmt.Errorf("%s: %w", optimizerFile, err)
	}
	if got := metadata["step"]; got != strconv.Itoa(s.Step) {
		return fmt.Errorf("%s is of step %q, %s of step %d", optimizerFile, got, stateFile, s.Step)
	}
	var faults []error
	for _, t := range all {
		if name, ok := strings.CutPrefix(t.Name, moment1Prefix); ok {
			t.Name = name
			s.Moment1 = append(s.Moment1, t)
		} else if name, ok := strings.CutPrefix(t.Name, moment2Prefix); ok {
			t.Name = name
			s.Moment2 = append(s.Moment2, t)
		} else {
			faults = append(faults, fmt.Errorf("%s: unknown tensor %q", optimizerFile, t.Name))
		}
	}
	return errors.Join(faults...)
}
