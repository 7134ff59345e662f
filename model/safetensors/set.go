package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gorun/model/mapped"
)

// The two ways in which a Hugging Face folder holds its weights.
const (
	SingleName = "model.safetensors"
	IndexName  = "model.safetensors.index.json"
)

const (
	maxIndex  = 100_000_000 // bytes of an index
	maxFaults = 10          // listed one by one; the rest are counted
)

// Set is the weights of one folder: one file, or shards with an index. Its methods are File's, and may be
// called by many goroutines.
type Set struct {
	dir   string
	files []*File
	names []string
	where map[string]*File // by tensor
}

// OpenDir opens the weights in a folder: model.safetensors, else the shards that
// model.safetensors.index.json lists. All shards must be there, each with the tensors that the index says
// it has; every fault is reported, joined. An index cannot name files outside the folder.
func OpenDir(dir string) (*Set, error) {
	single := filepath.Join(dir, SingleName)
	if _, err := os.Lstat(single); err == nil {
		f, err := Open(single)
		if err != nil {
			return nil, err
		}
		s := &Set{dir: dir, files: []*File{f}, names: f.Names(), where: make(map[string]*File)}
		for _, name := range s.names {
			s.where[name] = f
		}
		return s, nil
	}
	index := filepath.Join(dir, IndexName)
	weights, err := readIndex(index)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("safetensors: %s: %w", dir, noWeights(dir))
	}
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", index, err)
	}
	s, err := openShards(dir, weights)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", index, err)
	}
	return s, nil
}

// noWeights says what a folder without safetensors lacks.
func noWeights(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return mapped.Bare(err)
	}
	if !info.IsDir() {
		return errors.New("is not a folder")
	}
	if bins, _ := filepath.Glob(filepath.Join(dir, "pytorch_model*.bin")); len(bins) > 0 {
		return fmt.Errorf("has only PyTorch weights (%s); convert them to safetensors first", filepath.Base(bins[0]))
	}
	return fmt.Errorf("has neither %s nor %s; is the download complete?", SingleName, IndexName)
}

// readIndex reads an index's weight_map: the shard of each tensor.
func readIndex(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, mapped.Bare(err)
	}
	defer f.Close() // only read: nothing to lose
	body, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if err != nil {
		return nil, mapped.Bare(err)
	}
	return parseIndex(body)
}

func parseIndex(body []byte) (map[string]string, error) {
	if len(body) > maxIndex {
		return nil, fmt.Errorf("exceeds the limit of %d bytes", maxIndex)
	}
	dec, err := newDecoder(body)
	if err != nil {
		return nil, err
	}
	var weights map[string]string
	err = object(dec, func(name string) error {
		if name != "weight_map" {
			return skipValue(dec)
		}
		weights, err = readWeightMap(dec)
		if err != nil {
			return fmt.Errorf("weight_map: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(weights) == 0 {
		return nil, errors.New("has no weight_map, or an empty one; download it again")
	}
	return weights, nil
}

func readWeightMap(dec *json.Decoder) (map[string]string, error) {
	weights := make(map[string]string)
	err := object(dec, func(tensor string) error {
		shard, err := text(dec)
		if err == nil {
			err = checkShardName(shard)
		}
		if err != nil {
			return fmt.Errorf("tensor %q: %w", tensor, err)
		}
		weights[tensor] = shard
		return nil
	})
	return weights, err
}

// checkShardName refuses all but a plain file name: an index comes from strangers.
func checkShardName(name string) error {
	if strings.ContainsAny(name, "/\\:\x00") || !filepath.IsLocal(name) || !strings.HasSuffix(name, ".safetensors") {
		return fmt.Errorf("shard %q is not a plain file name ending in .safetensors", name)
	}
	return nil
}

func openShards(dir string, weights map[string]string) (*Set, error) {
	s := &Set{dir: dir, where: make(map[string]*File, len(weights))}
	shards := make(map[string]*File)
	var faults []error
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(weights))) {
		f, err := Open(filepath.Join(dir, shard))
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("shard %q is missing; is the download complete?", shard)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		shards[shard] = f
		s.files = append(s.files, f)
		for _, name := range f.Names() {
			if weights[name] == shard {
				s.names = append(s.names, name)
				s.where[name] = f
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if shards[weights[name]] != nil && s.where[name] == nil {
			faults = append(faults, fmt.Errorf("tensor %q is not in its shard %q", name, weights[name]))
		}
	}
	if len(faults) > 0 {
		if more := len(faults) - maxFaults; more > 0 {
			faults = append(faults[:maxFaults:maxFaults], fmt.Errorf("and %d more", more))
		}
		return nil, errors.Join(append(faults, s.Close())...)
	}
	return s, nil
}

// Names lists the tensors, by shard, then in the order of their data.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Info describes a tensor; false if there is none of that name.
func (s *Set) Info(name string) (Info, bool) {
	f := s.where[name]
	if f == nil {
		return Info{}, false
	}
	return f.Info(name)
}

// Bytes is a tensor's data, as File.Bytes.
func (s *Set) Bytes(name string) ([]byte, error) {
	f := s.where[name]
	if f == nil {
		return nil, fmt.Errorf("safetensors: %s: no tensor %q", s.dir, name)
	}
	return f.Bytes(name)
}

// Metadata is the notes of all files together; where two differ, the first file's word counts.
func (s *Set) Metadata() map[string]string {
	all := make(map[string]string)
	for _, f := range slices.Backward(s.files) {
		maps.Copy(all, f.Metadata())
	}
	return all
}

// Close closes every file. Views from Bytes must not be touched after it.
func (s *Set) Close() error {
	faults := make([]error, 0, len(s.files))
	for _, f := range s.files {
		faults = append(faults, f.Close())
	}
	return errors.Join(faults...)
}
