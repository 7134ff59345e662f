package rank

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorun/configs"
	"gorun/csrc/device/devicetest"
	"gorun/model/tinymodel"
	"gorun/rank/data"
)

// tinyBase writes a random model with a real tokenizer.
func tinyBase(t *testing.T) string { return tinyBaseOf(t, tinymodel.Llama) }

// tinyBaseOf is tinyBase of any config.json of a vocabulary of at least 900.
func tinyBaseOf(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	tinymodel.Write(t, dir, config, "../model/tokenizer/testdata/gpt2_tokenizer.json")
	return dir
}

func tinyData(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"id":"%d","context":"The number of %d is %d.","question":"What is %d?","answers":["%d"]}`+"\n", i, i, i*7%10, i, i*7%10)
	}
	path := filepath.Join(t.TempDir(), "data.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tinyRecipe trains for 8 steps over two epochs.
func tinyRecipe(t *testing.T, base, dir string, more ...string) *configs.Recipe {
	t.Helper()
	text := fmt.Sprintf(`
[model]
pretrained_model_name_or_path = %q
dtype = "f32"
[peft]
dim = 4
alpha = 8
dropout = 0.1
[dataset]
kind = "squad"
path_or_id = %q
[dataloader]
batch_size = 2
shuffle = true
[step_scheduler]
grad_acc_steps = 2
num_epochs = 2
val_every_steps = 4
ckpt_every_steps = 0
[validation_dataset]
path_or_id = %q
limit_dataset_samples = 3
[optimizer]
name = "adamw"
lr = 1e-2
[checkpoint]
dir = %q
`, base, tinyData(t, 15), tinyData(t, 5), dir)
	r, err := configs.Parse("test", []byte(text), more)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func asIs(_ Resource, name, _ string) (string, error) { return name, nil }

// prepare makes a recipe's job ready for one rank alone.
func prepare(t *testing.T, r *configs.Recipe) *Job {
	t.Helper()
	return prepareFor(t, Place{}, r)
}

// prepareFor makes a recipe's job ready for a rank, which is closed at the test's end.
func prepareFor(t *testing.T, p Place, r *configs.Recipe) *Job {
	t.Helper()
	job, err := PrepareAt(t.Context(), p, r, asIs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := job.Close(); err != nil {
			t.Error(err)
		}
	})
	return job
}

// train runs a recipe and returns what it printed.
func train(ctx context.Context, t *testing.T, r *configs.Recipe) (string, error) {
	t.Helper()
	job := prepare(t, r)
	var out bytes.Buffer
	err := job.Run(ctx, Options{Device: testDevice(t), Version: "test", Out: &out})
	return out.String(), err
}

// testDevice is the device of the tests.
func testDevice(t *testing.T) Device {
	t.Helper()
	c := devicetest.Config(t)
	return Device{Plugin: c.Plugin, CUDA: c.CUDA, Cache: c.CacheDir}
}

// scoreIDs returns the log-probability of each id after the first, given those before it.
func (s *Session) scoreIDs(ctx context.Context, ids []int32) ([]float32, error) {
	n := len(ids) - 1
	mb := data.Batch{Rows: 1, Seq: n, IDs: ids[:n], Labels: ids[1:], Positions: make([]int32, n)}
	for i := range mb.Positions {
		mb.Positions[i] = int32(i)
	}
	return s.Score(ctx, mb)
}
