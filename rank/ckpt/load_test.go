package ckpt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorun/model/export"
	"gorun/model/safetensors"
)

// saved makes a checkpoint folder with steps 1 and 2 and returns the folder and step 2's path.
func saved(t *testing.T) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	for step := 1; step <= 2; step++ {
		var err error
		if path, err = Save(t.Context(), dir, loraState(step), SaveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return dir, path
}

// TestDamage: whatever happens to any file of a checkpoint, it is not loaded, and auto takes the one before.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(file string) error{
		"removed":   os.Remove,
		"truncated": func(file string) error { return os.Truncate(file, 10) },
		"emptied":   func(file string) error { return os.Truncate(file, 0) },
		"one bit": func(file string) error {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			data[len(data)/2] ^= 1
			return os.WriteFile(file, data, 0o644)
		},
		"a folder": func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{export.ConfigFile, export.WeightsFile, manifestFile, optimizerFile, recipeFile, stateFile} {
				dir, path := saved(t)
				if err := damage(filepath.Join(path, file)); err != nil {
					t.Fatal(err)
				}
				_, err := Load(path)
				if err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: Load's error is %v", file, err)
					continue
				}
				if (name != "a folder" || file != manifestFile) && !errors.Is(err, ErrNotWhole) {
					t.Errorf("%s: Load's error is not ErrNotWhole: %v", file, err)
				}
				if _, err := Resolve(dir, path); err == nil {
					t.Errorf("%s: Resolve takes it", file)
				}
				r, err := Resolve(dir, "auto")
				if err != nil || r.Path != filepath.Join(dir, "epoch_0_step_1") || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], path) {
					t.Errorf("%s: auto gives %+v, %v", file, r, err)
				}
			}
		})
	}
}

func TestResolve(t *testing.T) {
	empty := t.TempDir()
	for _, dir := range []string{empty, filepath.Join(empty, "none")} {
		for _, resume := range []string{"auto", "never"} {
			if r, err := Resolve(dir, resume); err != nil || r.Path != "" || len(r.Warnings) > 0 {
				t.Errorf("Resolve(%s, %s) = %+v, %v", dir, resume, r, err)
			}
		}
		if path, ok, err := latest(dir); path != "" || ok || err != nil {
			t.Errorf("latest(%s) = %q %v %v", dir, path, ok, err)
		}
	}
	dir, two := saved(t)
	one := filepath.Join(dir, "epoch_0_step_1")
	if r, err := Resolve(dir, "auto"); err != nil || r.Path != two {
		t.Errorf("auto gives %+v, %v", r, err)
	}
	if r, err := Resolve(dir, one); err != nil || r.Path != one {
		t.Errorf("a path gives %+v, %v", r, err)
	}
	if r, err := Resolve(empty, filepath.Join(dir, latestLink)); err != nil || r.Path != two {
		t.Errorf("a link gives %+v, %v", r, err)
	}
	if r, err := Resolve(dir, "never"); err != nil || r.Path != "" || len(r.Warnings) > 0 {
		t.Errorf("never gives %+v, %v", r, err)
	}
	for resume, want := range map[string]string{
		"":                               "is empty",
		filepath.Join(dir, "nowhere"):    "no such checkpoint",
		filepath.Join(one, stateFile):    "this is a file",
		dir:                              filepath.Join(dir, latestLink),
		empty:                            "not a whole checkpoint",
		filepath.Join(dir, lockFile, ""): "this is a file",
	} {
		if r, err := Resolve(dir, resume); err == nil || r.Path != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%q) = %+v, %v; want an error with %q", resume, r, err, want)
		}
	}
	// The user's own choice of LATEST counts.
	if err := setLink(dir, latestLink, "epoch_0_step_1"); err != nil {
		t.Fatal(err)
	}
	if path, ok, err := latest(dir); path != one || !ok || err != nil {
		t.Errorf("Latest gives %q %v %v", path, ok, err)
	}
	// A link out of the folder is not followed.
	if err := setLink(dir, latestLink, "../epoch_0_step_1"); err != nil {
		t.Fatal(err)
	}
	if path, _, _ := latest(dir); path != two {
		t.Errorf("Latest gives %q", path)
	}
	// Nothing whole: an error, not a fresh start.
	for _, path := range []string{one, two} {
		if err := os.Remove(filepath.Join(path, manifestFile)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Resolve(dir, "auto"); !errors.Is(err, ErrNotWhole) || !strings.Contains(err.Error(), "never") {
		t.Errorf("nothing whole: %v", err)
	}
}

// resign writes a manifest that fits the files as they are now.
func resign(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(filepath.Join(path, manifestFile)); err != nil {
		t.Fatal(err)
	}
	m, err := makeManifest(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(path, manifestFile), data); err != nil {
		t.Fatal(err)
	}
}

// TestLoadInconsistent: files that are whole each but do not belong together.
func TestLoadInconsistent(t *testing.T) {
	replaceIn := func(file, old, with string) func(string) error {
		return func(path string) error {
			file := filepath.Join(path, file)
			data, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(data), old) {
				return fmt.Errorf("%s lacks %q: %w", file, old, err)
			}
			return os.WriteFile(file, []byte(strings.Replace(string(data), old, with, 1)), 0o644)
		}
	}
	for _, c := range []struct {
		want   string
		change func(path string) error
	}{
		{"optimizer.safetensors is of step \"2\"", replaceIn(stateFile, `"step": 2`, `"step": 3`)},
		{"upgrade gorun", replaceIn(stateFile, `"format": 1`, `"format": 2`)},
		{"this is not gorun's", replaceIn(stateFile, `"format": 1`, `"format": 0`)},
		{"samples is -1", replaceIn(stateFile, `"samples": 16`, `"samples": -1`)},
		{"r = 3", replaceIn(export.ConfigFile, `"r": 2`, `"r": 3`)},
		{"both", func(path string) error {
			return safetensors.Write(filepath.Join(path, modelFile), fullState(2).Params, nil)
		}},
		{"neither", func(path string) error { return os.Remove(filepath.Join(path, export.WeightsFile)) }},
		{"unknown tensor", func(path string) error {
			return safetensors.Write(filepath.Join(path, optimizerFile), loraState(2).Params, map[string]string{"step": "2"})
		}},
		{"moment1 of", func(path string) error {
			return safetensors.Write(filepath.Join(path, optimizerFile), []safetensors.Tensor{filled("moment2.x", 1, 2)}, map[string]string{"step": "2"})
		}},
		{"recipe.toml is not listed", func(path string) error { return os.Remove(filepath.Join(path, recipeFile)) }},
	} {
		_, path := saved(t)
		if err := c.change(path); err != nil {
			t.Fatal(err)
		}
		resign(t, path)
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
}

func TestCheckBase(t *testing.T) {
	s := loraState(1)
	if err := s.CheckBase("base"); err != nil {
		t.Error(err)
	}
	err := s.CheckBase("")
	if err == nil || !strings.Contains(err.Error(), "base, now none") || !strings.Contains(err.Error(), "pretrained_model_name_or_path") {
		t.Errorf("error is %v", err)
	}
}

func TestRecipeDrift(t *testing.T) {
	then := "[optimizer]\nlr = 1e-5\nbetas = [0.9, 0.999]\n[model]\ndtype = \"bf16\"\n[[sets]]\nname = \"a\"\n[[sets]]\nname = \"b\"\n"
	now := "# layout and comments do not count\nmodel.dtype = 'f32'\n[optimizer]\nbetas=[0.9,0.999]\nlr = 0.00001\neps = 1e-8\n[[sets]]\nname=\"a\"\n"
	got, err := RecipeDrift(then, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{{"model.dtype", `"bf16"`, `"f32"`}, {"optimizer.eps", "", "1e-08"}, {"sets.1.name", `"b"`, ""}}
	if !slices.Equal(got, want) {
		t.Errorf("changes are %v, want %v", got, want)
	}
	if s := got[1].String(); s != "optimizer.eps: 1e-08, was unset" {
		t.Errorf("in words: %s", s)
	}
	if got, err := RecipeDrift(then, then); err != nil || len(got) > 0 {
		t.Errorf("the same recipe: %v %v", got, err)
	}
	if got, err := RecipeDrift("a = 1", "a = 1.0"); err != nil || len(got) > 0 {
		t.Errorf("1 and 1.0: %v %v", got, err)
	}
	if _, err := RecipeDrift("a =", "a = 1"); err == nil || !strings.Contains(err.Error(), "of the checkpoint") {
		t.Errorf("broken TOML: %v", err)
	}
	if _, err := RecipeDrift("a = 1", "a ="); err == nil || !strings.Contains(err.Error(), "of this run") {
		t.Errorf("broken TOML: %v", err)
	}
}

func TestParseName(t *testing.T) {
	for name, want := range map[string][2]int{"epoch_0_step_0": {0, 0}, "epoch_12_step_3456": {12, 3456}} {
		if e, s, ok := parseName(name); !ok || e != want[0] || s != want[1] {
			t.Errorf("%s: %d %d %v", name, e, s, ok)
		}
	}
	for _, name := range []string{"", "epoch_1", "epoch_1_step_", "epoch_01_step_2", "epoch_1_step_2 ", "epoch_+1_step_2",
		"epoch_1_step_99999999999999999999", ".tmp-epoch_1_step_2", "../epoch_1_step_2"} {
		if _, _, ok := parseName(name); ok {
			t.Errorf("%q is taken for a checkpoint", name)
		}
	}
}

func TestReadOnlyReaders(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNotWhole) {
		t.Errorf("no folder: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, nil); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file as folder: %v", err)
	}
}

// FuzzManifest: no manifest and no state may crash the reader or name a file outside the checkpoint.
func FuzzManifest(f *testing.F) {
	state, err := withVal(loraState(3), 1).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add([]byte(`{"format":1,"sequence":1,"files":[{"name":"../state.json","size":1,"sha256":""}]}`))
	f.Add([]byte(`{"format":1,"sequence":1,"files":[{"name":"state.json","size":1,"sha256":"` + strings.Repeat("0", 64) + `"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := parseManifest(data); err == nil {
			for _, e := range m.Files {
				if filepath.Base(e.Name) != e.Name || e.Size < 0 {
					t.Errorf("accepted %+v", e)
				}
			}
		}
		if s, err := decodeState(data); err == nil {
			if _, err := s.encode(); err != nil {
				t.Errorf("accepted a state that cannot be written: %v", err)
			}
		}
	})
}

// latest is the checkpoint that resume = "auto" takes; ok is false if dir has none.
func latest(dir string) (path string, ok bool, err error) {
	r, err := Resolve(dir, "auto")
	return r.Path, err == nil && r.Path != "", err
}
