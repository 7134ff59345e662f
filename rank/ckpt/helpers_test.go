package ckpt

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/export"
	"gorun/model/safetensors"
)

// childEnv names what TestMain does instead of running tests; childDir is the checkpoint folder.
const (
	childEnv = "CKPT_TEST_CHILD"
	childDir = "CKPT_TEST_DIR"
)

// child prepares another process of this test binary.
func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+what, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// filled makes a float32 tensor with every value v + its index.
func filled(name string, v float32, shape ...int) safetensors.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = v + float32(i)
	}
	return safetensors.Tensor{Name: name, DType: dtypes.Float32, Shape: shape, Data: floatBytes(values)}
}

// loraState is a state of two adapted linears whose tensors are made from the step.
func loraState(step int) *State {
	s := &State{
		Step: step, Epoch: step / 100, Samples: int64(step) * 8, EpochSamples: int64(step%100) * 8, Tokens: int64(step) * 1000,
		Seed: 1111, BaseDigest: "base", ConfigHash: "config", Version: "test", Loss: 1 / float64(step+1), Recipe: "[optimizer]\nlr = 1e-05\n",
		Adapter: &export.Adapter{Base: "tiny", Dim: 2, Alpha: 4, Dropout: 0.1},
	}
	v := float32(step)
	for _, name := range []string{"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"} {
		s.Adapter.Modules = append(s.Adapter.Modules, export.Module{Name: name, Dim: 2, In: 3, Out: 5, Alpha: 4})
		s.Params = append(s.Params, filled(export.AName(name), v, 2, 3), filled(export.BName(name), -v, 5, 2))
		s.Moment1 = append(s.Moment1, filled(export.AName(name), v+0.5, 2, 3), filled(export.BName(name), v-0.5, 5, 2))
		s.Moment2 = append(s.Moment2, filled(export.AName(name), v+0.25, 2, 3), filled(export.BName(name), v+0.75, 5, 2))
	}
	return s
}

// fullState is a state of full fine-tuning, its weights in bfloat16.
func fullState(step int) *State {
	s := loraState(step)
	s.Adapter, s.Params, s.Moment1, s.Moment2 = nil, nil, nil, nil
	for _, name := range []string{"model.embed_tokens.weight", "model.norm.weight"} {
		p := safetensors.Tensor{Name: name, DType: dtypes.BFloat16, Shape: []int{4, 2}, Data: make([]byte, 16)}
		for i := range p.Data {
			p.Data[i] = byte(step + i)
		}
		s.Params = append(s.Params, p)
		s.Moment1 = append(s.Moment1, filled(name, 1, 4, 2))
		s.Moment2 = append(s.Moment2, filled(name, 2, 4, 2))
	}
	return s
}

// withVal sets the validation loss.
func withVal(s *State, loss float64) *State {
	s.ValLoss, s.BestVal = &loss, &loss
	return s
}

// open opens a checkpoint folder until the test ends; it gathers warnings.
func open(t *testing.T, dir string) (d *Dir, warnings *[]string) {
	t.Helper()
	warnings = new([]string)
	d, err := Open(dir, func(w string) { *warnings = append(*warnings, w) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, warnings
}

func save(t *testing.T, d *Dir, s *State, keep int) string {
	t.Helper()
	path, err := d.Save(t.Context(), s, SaveOptions{Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// assertNames compares the names in a folder with those wanted and the lock.
func assertNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	want = append(want, lockFile)
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

// assertLink checks where a link leads.
func assertLink(t *testing.T, dir, link, want string) {
	t.Helper()
	if got, err := os.Readlink(filepath.Join(dir, link)); err != nil || got != want {
		t.Errorf("%s leads to %q (%v), want %q", link, got, err, want)
	}
}

// assertState compares two states, tensors by name and bit for bit.
func assertState(t *testing.T, got, want *State) {
	t.Helper()
	if err := sameState(got, want); err != nil {
		t.Error(err)
	}
}

func sameState(got, want *State) error {
	g, w := *got, *want
	for _, l := range []struct {
		name string
		g, w []safetensors.Tensor
	}{{"params", g.Params, w.Params}, {"moment1", g.Moment1, w.Moment1}, {"moment2", g.Moment2, w.Moment2}} {
		gi, err := byName(l.name, l.g)
		if err != nil {
			return err
		}
		wi, err := byName(l.name, l.w)
		if err != nil {
			return err
		}
		if !slices.Equal(slices.Sorted(maps.Keys(gi)), slices.Sorted(maps.Keys(wi))) {
			return fmt.Errorf("%s: other names", l.name)
		}
		for name, t := range wi {
			o := gi[name]
			if o.DType != t.DType || !slices.Equal(o.Shape, t.Shape) || string(o.Data) != string(t.Data) {
				return fmt.Errorf("%s of %s differs: %v, want %v", l.name, name, o, t)
			}
		}
	}
	gj, err := got.encode()
	if err != nil {
		return err
	}
	wj, err := want.encode()
	if err != nil {
		return err
	}
	if string(gj) != string(wj) || g.Recipe != w.Recipe {
		return fmt.Errorf("scalars differ: %s%s, want %s%s", gj, g.Recipe, wj, w.Recipe)
	}
	if (g.Adapter == nil) != (w.Adapter == nil) {
		return fmt.Errorf("adapter is %v, want %v", g.Adapter, w.Adapter)
	}
	if g.Adapter != nil {
		if a, b := fmt.Sprintf("%+v", *g.Adapter), fmt.Sprintf("%+v", *w.Adapter); a != b {
			return fmt.Errorf("adapter is %s, want %s", a, b)
		}
	}
	return nil
}
