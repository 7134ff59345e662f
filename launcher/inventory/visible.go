package inventory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Visible is the part of a node's GPUs that CUDA_VISIBLE_DEVICES leaves, in its order: indices, UUIDs or their beginnings
// (GPU-...), and slices of MIG (MIG-...). set is false if the variable is not set: then it is all of them.
//
// CUDA takes a list up to its first mistake and says nothing; here a mistake is an error. But -1 ends the list, as many
// scripts use it.
func Visible(all []GPU, list string, set bool) ([]GPU, error) {
	if !set {
		return whole(all)
	}
	var out []GPU
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		if word == "-1" || word == "" && list == "" || word == "NoDevFiles" {
			break
		}
		gpu, err := pick(all, word)
		if err != nil {
			return nil, fmt.Errorf("CUDA_VISIBLE_DEVICES=%s: %w", list, err)
		}
		if slices.ContainsFunc(out, func(g GPU) bool { return g.UUID == gpu.UUID }) {
			return nil, fmt.Errorf("CUDA_VISIBLE_DEVICES=%s: GPU %s is in it twice", list, word)
		}
		out = append(out, gpu)
	}
	return out, nil
}

// whole refuses GPUs that MIG has cut: of those CUDA would take one slice and leave the rest, without a word.
func whole(all []GPU) ([]GPU, error) {
	for _, g := range all {
		if g.MIG {
			return nil, fmt.Errorf("GPU %d is cut into %d slices by MIG: say which to use, as CUDA_VISIBLE_DEVICES=MIG-... ('nvidia-smi -L' lists them)", g.Index, len(g.Slices))
		}
	}
	return all, nil
}

func pick(all []GPU, word string) (GPU, error) {
	if index, err := strconv.Atoi(word); err == nil {
		if index < 0 || index >= len(all) {
			return GPU{}, fmt.Errorf("there is no GPU %s: %s", word, have(all))
		}
		_, err := whole(all[index : index+1])
		return all[index], err
	}
	var found []GPU
	for _, g := range all {
		for _, candidate := range append([]GPU{g}, g.Slices...) {
			if len(word) > len("GPU-") && strings.HasPrefix(candidate.UUID, word) {
				found = append(found, candidate)
			}
		}
	}
	switch {
	case len(found) == 0:
		return GPU{}, fmt.Errorf("there is no GPU %q: %s", word, have(all))
	case len(found) > 1:
		return GPU{}, fmt.Errorf("%q is the beginning of several UUIDs: write more of it", word)
	}
	if found[0].MIG && strings.HasPrefix(word, "GPU-") {
		_, err := whole(found)
		return GPU{}, err
	}
	return found[0], nil
}

// have says what there is instead.
func have(all []GPU) string {
	if len(all) == 0 {
		return "this process may use none"
	}
	return fmt.Sprintf("there are 0 to %d ('nvidia-smi -L' lists their UUIDs)", len(all)-1)
}
