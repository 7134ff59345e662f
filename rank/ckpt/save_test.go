package ckpt

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/export"
	"gorun/model/safetensors"
	"gorun/tools/countdown"
	"gorun/tools/skip"
)

func TestSaveAndLoad(t *testing.T) {
	for name, s := range map[string]*State{"lora": withVal(loraState(120), 1.5), "full": fullState(7)} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "b")
			path, err := Save(t.Context(), dir, s, SaveOptions{Files: map[string][]byte{"config.json": []byte("{}")}})
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(dir, checkpointName(s.Epoch, s.Step)); path != want {
				t.Errorf("path is %s, want %s", path, want)
			}
			for _, p := range []string{path, filepath.Join(dir, latestLink)} {
				got, err := Load(p)
				if err != nil {
					t.Fatal(err)
				}
				assertState(t, got, s)
			}
			if data, err := os.ReadFile(filepath.Join(path, "config.json")); err != nil || string(data) != "{}" {
				t.Errorf("config.json is %q (%v)", data, err)
			}
			moved := filepath.Join(t.TempDir(), "moved")
			if err := os.Rename(path, moved); err != nil {
				t.Fatal(err)
			}
			got, err := Load(moved)
			if err != nil {
				t.Fatalf("moved elsewhere: %v", err)
			}
			assertState(t, got, s)
		})
	}
}

// TestFolderIsAnAdapter: what is published is what PEFT's loader looks for.
func TestFolderIsAnAdapter(t *testing.T) {
	path, err := Save(t.Context(), t.TempDir(), loraState(3), SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{export.ConfigFile, export.WeightsFile, manifestFile, optimizerFile, recipeFile, stateFile}
	if got := names(t, path); !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
	a, err := export.ReadPEFT(path)
	if err != nil {
		t.Fatal(err)
	}
	if a.Base != "tiny" || len(a.Modules) != 2 || a.Modules[0].A[1] != 4 || a.Modules[0].B[1] != -2 {
		t.Errorf("adapter is %+v", a)
	}
	_, metadata, err := safetensors.ReadAll(filepath.Join(path, optimizerFile))
	if err != nil || metadata["step"] != "3" {
		t.Errorf("metadata of the optimizer is %v (%v)", metadata, err)
	}
}

func TestLinksAndRetention(t *testing.T) {
	dir := t.TempDir()
	d, warnings := open(t, dir)
	save(t, d, withVal(loraState(10), 3), 2)
	save(t, d, withVal(loraState(20), 1), 2)
	save(t, d, withVal(loraState(30), 1), 2)
	assertNames(t, dir, "LATEST", "LOWEST_VAL", "epoch_0_step_20", "epoch_0_step_30")
	assertLink(t, dir, lowestLink, "epoch_0_step_20") // of equals the first
	save(t, d, loraState(40), 2)
	save(t, d, withVal(loraState(150), 2), 2)
	assertNames(t, dir, "LATEST", "LOWEST_VAL", "epoch_0_step_20", "epoch_0_step_40", "epoch_1_step_150")
	assertLink(t, dir, latestLink, "epoch_1_step_150")
	assertLink(t, dir, lowestLink, "epoch_0_step_20")
	// The best is saved again and is the best no more: the link moves on.
	save(t, d, withVal(loraState(20), 5), 2)
	assertLink(t, dir, lowestLink, "epoch_1_step_150")
	assertLink(t, dir, latestLink, "epoch_0_step_20")
	assertNames(t, dir, "LATEST", "LOWEST_VAL", "epoch_0_step_20", "epoch_1_step_150")
	// "The last" are the last saved, not those of the highest step.
	save(t, d, loraState(25), 1)
	assertNames(t, dir, "LATEST", "LOWEST_VAL", "epoch_0_step_25", "epoch_1_step_150")
	save(t, d, loraState(26), 0)
	assertNames(t, dir, "LATEST", "LOWEST_VAL", "epoch_0_step_25", "epoch_0_step_26", "epoch_1_step_150")
	// Another base's losses are not comparable.
	other := withVal(loraState(27), 4)
	other.BaseDigest = "other"
	save(t, d, other, 0)
	assertLink(t, dir, lowestLink, "epoch_0_step_27")
	if len(*warnings) > 0 {
		t.Errorf("warnings: %q", *warnings)
	}
}

// TestRetentionLeavesStrangers: what is not a whole checkpoint of ours is never removed.
func TestRetentionLeavesStrangers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"epoch_0_step_1", "epoch_0_step_01", "notes"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d, warnings := open(t, dir)
	save(t, d, loraState(2), 1)
	save(t, d, loraState(3), 1)
	assertNames(t, dir, "LATEST", "epoch_0_step_01", "epoch_0_step_1", "epoch_0_step_3", "notes")
	if len(*warnings) != 1 || !strings.Contains((*warnings)[0], "epoch_0_step_1 is ignored") {
		t.Errorf("warnings: %q", *warnings)
	}
}

// TestReplace saves the same step again, by exchange and, where that is not to be had, by setting aside.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	d, _ := open(t, dir)
	save(t, d, loraState(10), 0)
	again := loraState(10)
	again.Loss = 42
	path := save(t, d, again, 0)
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	assertState(t, got, again)
	assertNames(t, dir, "LATEST", "epoch_0_step_10")

	third := loraState(10)
	third.Loss = 43
	tmp := filepath.Join(dir, tmpPrefix+"epoch_0_step_10")
	if err := d.write(t.Context(), tmp, third, SaveOptions{}, 9); err != nil {
		t.Fatal(err)
	}
	if err := d.setAside(tmp, "epoch_0_step_10"); err != nil {
		t.Fatal(err)
	}
	if got, err = Load(path); err != nil {
		t.Fatal(err)
	}
	assertState(t, got, third)
	assertNames(t, dir, "LATEST", "epoch_0_step_10")
}

// TestNameIsNeverEmpty: while a checkpoint is replaced again and again, its name always has one.
func TestNameIsNeverEmpty(t *testing.T) {
	dir := t.TempDir()
	d, _ := open(t, dir)
	const name = "epoch_0_step_1"
	tmp, path := filepath.Join(dir, tmpPrefix+name), filepath.Join(dir, name)
	replace := func() error {
		return errors.Join(os.Mkdir(tmp, 0o755), writeFile(filepath.Join(tmp, stateFile), nil), d.publish(tmp, name))
	}
	if err := replace(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := exchange(tmp, path); errors.Is(err, errNoExchange) {
		skip.Because(t, "on this file system: "+err.Error())
	}
	if err := errors.Join(exchange(tmp, path), os.RemoveAll(tmp)); err != nil {
		t.Fatal(err)
	}
	stop, looked, lost := make(chan struct{}), 0, 0
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				looked++
				if _, err := os.Lstat(path); err != nil {
					lost++
				}
			}
		}
	})
	for range 100 {
		if err := replace(); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	reader.Wait()
	if looked < 100 || lost > 0 {
		t.Errorf("of %d looks %d found no checkpoint", looked, lost)
	}
}

func TestSaveRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*State)
		want   []string
	}{
		"nothing":    {func(s *State) { s.Params = nil }, []string{"no parameters", "belongs to no parameter", "2 modules"}},
		"diverged":   {func(s *State) { s.Loss = math.NaN(); s.Step = -1 }, []string{"loss is NaN", "step is -1"}},
		"nan weight": {func(s *State) { copy(s.Params[0].Data, []byte{0, 0, 0xc0, 0x7f}) }, []string{"A[0] is NaN"}},
		"moments": {func(s *State) {
			s.Moment1 = s.Moment1[1:]
			s.Moment2[0].Shape = []int{6}
			s.Moment2[1].DType = dtypes.BFloat16
			s.Moment2[1].Data = s.Moment2[1].Data[:20]
		}, []string{"moment1 of \"model.layers.0.self_attn.q_proj.lora_A.weight\" is missing", "[6]", "want float32"}},
		"twice":  {func(s *State) { s.Params[1] = s.Params[0] }, []string{"given twice", "q_proj.lora_B.weight\" of the adapter is missing"}},
		"shape":  {func(s *State) { s.Params[0].Shape = []int{3, 2} }, []string{"want float32[2 3]"}},
		"bytes":  {func(s *State) { s.Params[0].Data = nil }, []string{"has 0 bytes, want 24"}},
		"dtype":  {func(s *State) { s.Params[0].DType = dtypes.InvalidDType }, []string{"want float32, bfloat16 or float16"}},
		"counts": {func(s *State) { s.EpochSamples = s.Samples + 1 }, []string{"more than samples"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d, _ := open(t, dir)
			s := loraState(5)
			c.change(s)
			path, err := d.Save(t.Context(), s, SaveOptions{})
			if err == nil || path != "" {
				t.Fatalf("saved as %q, error %v", path, err)
			}
			for _, w := range append(c.want, "save checkpoint of step") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error does not say %q: %v", w, err)
				}
			}
			assertNames(t, dir)
		})
	}
	d, _ := open(t, t.TempDir())
	_, err := d.Save(t.Context(), loraState(1), SaveOptions{Keep: -1, Files: map[string][]byte{"../x": nil, stateFile: nil, ".y": nil}})
	for _, w := range []string{"checkpoint.keep is -1", `"../x"`, `"state.json"`, `".y"`} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %s: %v", w, err)
		}
	}
}

// TestCancel stops a save at each of its parts and finds nothing of it.
func TestCancel(t *testing.T) {
	dir := t.TempDir()
	d, _ := open(t, dir)
	save(t, d, loraState(1), 0)
	stopped := 0
	for parts := range 20 {
		ctx := &countdown.Context{Context: t.Context(), Left: parts}
		_, err := d.Save(ctx, loraState(2), SaveOptions{})
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		stopped++
		assertNames(t, dir, "LATEST", "epoch_0_step_1")
	}
	if stopped < 5 {
		t.Errorf("stopped at %d places only", stopped)
	}
	assertNames(t, dir, "LATEST", "epoch_0_step_1", "epoch_0_step_2")
}

func TestClosed(t *testing.T) {
	d, _ := open(t, t.TempDir())
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Save(t.Context(), loraState(1), SaveOptions{}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("error is %v", err)
	}
}

// TestOpenCleans: half-written folders go, a checkpoint set aside comes back, a lost link is made again.
func TestOpenCleans(t *testing.T) {
	dir := t.TempDir()
	d, _ := open(t, dir)
	save(t, d, loraState(1), 0)
	save(t, d, loraState(2), 0)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.Rename(at("epoch_0_step_2"), at(oldPrefix+"epoch_0_step_2")), // died between two renames
		os.MkdirAll(at(tmpPrefix+"epoch_0_step_3/x"), 0o755),
		os.MkdirAll(at(oldPrefix+"epoch_0_step_1/x"), 0o755),
		os.Symlink("epoch_0_step_1", at(tmpPrefix+latestLink)),
	)
	if err != nil {
		t.Fatal(err)
	}
	if path, ok, err := latest(dir); !ok || err != nil || path != at("epoch_0_step_1") {
		t.Errorf("before Open, Latest gives %q %v %v", path, ok, err)
	}
	d, warnings := open(t, dir)
	assertNames(t, dir, "LATEST", "epoch_0_step_1", "epoch_0_step_2")
	if len(*warnings) != 2 {
		t.Errorf("warnings: %q", *warnings)
	}
	if err := errors.Join(d.Close(), os.Remove(at(latestLink))); err != nil {
		t.Fatal(err)
	}
	_, warnings = open(t, dir)
	assertLink(t, dir, latestLink, "epoch_0_step_2")
	if len(*warnings) != 1 || !strings.Contains((*warnings)[0], "LATEST now points to epoch_0_step_2") {
		t.Errorf("warnings: %q", *warnings)
	}
}

// TestSetAside: a run that begins afresh, or from elsewhere, finds the folder empty; one that goes back keeps what it
// builds on. What is moved is whole, with its links.
func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	d, _ := open(t, dir)
	if folder, n, err := d.SetAside(""); folder != "" || n != 0 || err != nil {
		t.Errorf("an empty folder: %q, %d, %v", folder, n, err)
	}
	first := save(t, d, withVal(loraState(10), 1), 0)
	save(t, d, withVal(loraState(20), 2), 0)
	if err := os.Mkdir(filepath.Join(dir, asidePrefix+"1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if folder, n, err := d.SetAside(first); folder != filepath.Join(dir, "earlier.2") || n != 1 || err != nil {
		t.Errorf("back to step 10: %q, %d, %v", folder, n, err)
	}
	assertNames(t, dir, "LATEST", "LOWEST_VAL", "earlier.1", "earlier.2", "epoch_0_step_10")
	assertLink(t, dir, latestLink, "epoch_0_step_10")
	if got := names(t, filepath.Join(dir, "earlier.2")); !slices.Equal(got, []string{"LATEST", "epoch_0_step_20"}) {
		t.Errorf("set aside: %q", got)
	}

	save(t, d, withVal(loraState(20), 3), 0)
	elsewhere, other := t.TempDir(), "epoch_0_step_10" // of the same name as one of ours
	o, _ := open(t, elsewhere)
	if folder, n, err := d.SetAside(save(t, o, loraState(10), 0)); folder != filepath.Join(dir, "earlier.3") || n != 2 || err != nil {
		t.Errorf("from %s elsewhere: %q, %d, %v", other, folder, n, err)
	}
	assertNames(t, dir, "earlier.1", "earlier.2", "earlier.3")
	if got := names(t, filepath.Join(dir, "earlier.3")); !slices.Equal(got, []string{"LATEST", "LOWEST_VAL", "epoch_0_step_10", "epoch_0_step_20"}) {
		t.Errorf("set aside: %q", got)
	}
	assertLink(t, filepath.Join(dir, "earlier.3"), lowestLink, "epoch_0_step_10")
	if r, err := Resolve(filepath.Join(dir, "earlier.3"), "auto"); err != nil || filepath.Base(r.Path) != "epoch_0_step_20" {
		t.Errorf("what was set aside: %+v, %v", r, err)
	}
	save(t, d, withVal(loraState(10), 9), 1)
	assertLink(t, dir, lowestLink, "epoch_0_step_10")
}
