package card

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gorun/configs"
	"gorun/model/export"
	"gorun/model/hub"
	"gorun/rank/ckpt"
)

// Names in what is published.
const (
	cardFile   = "README.md"
	recipeFile = "recipe.toml"
)

// Run is what is known about a folder to publish.
type Run struct {
	Dir     string
	Adapter *export.Adapter // nil: a whole model
	State   *ckpt.State     // nil: the folder is no checkpoint
	Recipe  *configs.Recipe // nil if State is
	From    string          // base of a model that was exported, as export.json names it; "" if it does not

	FirstLoss *float64 // training loss of the first logged step; nil if there is no log
	Results   []Result // validation up to the checkpoint's step
}

// Open reads a folder: a checkpoint, an adapter, or a model as `gorun export` and `gorun merge` leave them. Whatever it
// is, it must be whole.
func Open(path string) (*Run, error) {
	r, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("publish %s: %w", path, err)
	}
	return r, nil
}

func open(path string) (r *Run, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	r = &Run{Dir: path}
	if has(path, "LATEST") && !has(path, export.ConfigFile) {
		return nil, fmt.Errorf("this is a folder of checkpoints: give one of them, such as %s", filepath.Join(path, "LATEST"))
	}
	if has(path, "state.json") {
		if err := r.openCheckpoint(); err != nil {
			return nil, err
		}
	}
	switch {
	case has(path, export.ConfigFile):
		r.Adapter, err = export.ReadPEFT(path)
		return r, err
	case has(path, "config.json"):
		if err := r.checkModel(); err != nil {
			return nil, err
		}
		return r, r.readExport()
	case r.State != nil:
		return nil, errors.New("this checkpoint has weights without a configuration or a tokenizer, which nobody can load: make a model of it with `gorun export --format hf`, and publish that")
	}
	return nil, errors.New("this is neither an adapter (adapter_config.json) nor a model (config.json)")
}

func (r *Run) openCheckpoint() (err error) {
	if r.State, err = ckpt.Load(r.Dir); err != nil {
		return err
	}
	// It was validated when it ran; that paths in it are not here does not matter now.
	if r.Recipe, err = configs.Parse(recipeFile, []byte(r.State.Recipe), nil); err != nil {
		return err
	}
	dir := r.Recipe.Logging.Dir
	if dir == "" || !has(dir, ".") {
		dir = filepath.Dir(r.Dir)
	}
	var trained, validated error
	r.FirstLoss, trained = firstLoss(dir, r.State.Step)
	r.Results, validated = validations(dir, r.State.Step)
	return errors.Join(trained, validated)
}

// checkModel refuses a model whose weights are not there.
func (r *Run) checkModel() error {
	weights, err := filepath.Glob(filepath.Join(r.Dir, "*.safetensors"))
	if err == nil && len(weights) == 0 {
		err = errors.New("it has config.json but no weights in safetensors")
	}
	return err
}

// readExport takes the base's name from what an export has left beside the model.
func (r *Run) readExport() error {
	text, err := os.ReadFile(filepath.Join(r.Dir, "export.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var report struct{ Base string }
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil {
		return fmt.Errorf("export.json: %w", err)
	}
	r.From = report.Base
	return nil
}

func has(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// Files lists what is published of the folder, but for the card: what PEFT, transformers and vLLM load, and the recipe.
func (r *Run) Files() ([]hub.Upload, error) {
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return nil, err
	}
	var out []hub.Upload
	for _, e := range entries {
		if !r.published(e.Name()) {
			continue
		}
		path := filepath.Join(r.Dir, e.Name())
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			out = append(out, hub.Upload{Path: e.Name(), From: path})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("publish %s: %w: there is nothing to publish", r.Dir, fs.ErrNotExist)
	}
	return out, nil
}

func (r *Run) published(name string) bool {
	switch {
	case name == cardFile: // it is made
		return false
	case name == recipeFile:
		return true
	case r.Adapter != nil:
		return name == export.ConfigFile || name == export.WeightsFile
	case name == "optimizer.safetensors":
		return false
	}
	return hub.IsModelFile(name) || filepath.Ext(name) == ".safetensors"
}
