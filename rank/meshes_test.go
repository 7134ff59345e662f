package rank

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gorun/configs"
	"gorun/csrc/device/devicetest"
	"gorun/model/safetensors"
	"gorun/tools/skip"
)

// mesh is a way to lay ranks out, and how a step's samples are dealt out on it: dp x rows x acc of them.
type mesh struct {
	name       string
	dp, cp, tp int
	rows, acc  int
	set        []string
}

func (m mesh) world() int { return m.dp * m.cp * m.tp }

// one is one rank that takes as many samples a step.
func (m mesh) one() mesh { return mesh{"one rank", 1, 1, 1, 2, m.dp * m.rows * m.acc / 2, nil} }

const (
	sequence = "distributed.sequence_parallel=true"
	hsdp     = "distributed.dp_replicate_size=2"
	offload  = "distributed.cpu_offload=true"
	keep     = "distributed.reshard_after_forward=false"
	val      = "step_scheduler.val_every_steps=5"
	remat    = `distributed.activation_checkpointing="full"`
)

// recipe makes 10 steps with the same samples on every mesh.
func (m mesh) recipe(t *testing.T, base, dir string, more ...string) *configs.Recipe {
	t.Helper()
	set := []string{fmt.Sprint("dataloader.batch_size=", m.rows), fmt.Sprint("step_scheduler.grad_acc_steps=", m.acc),
		fmt.Sprint("distributed.tp_size=", m.tp), fmt.Sprint("distributed.cp_size=", m.cp),
		"step_scheduler.num_epochs=6", "step_scheduler.max_steps=10", "dist_env.timeout_minutes=10"}
	return tinyRecipe(t, base, dir, append(append(set, m.set...), more...)...)
}

// train trains on the mesh and returns the run's folder.
func (m mesh) train(t *testing.T, base string, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	r := m.recipe(t, base, dir, more...)
	if m.world() == 1 {
		mustTrain(t, r)
	} else {
		trainOn(t, r, m.world())
	}
	return dir
}

// scheme is what is trained, and the file that it is saved in.
type scheme struct {
	name string
	set  []string
	file string
}

var (
	lora = scheme{"lora", []string{"optimizer.lr=1e-3"}, "adapter_model.safetensors"}
	full = scheme{"full", []string{"peft.scheme=none", "optimizer.lr=1e-4"}, "model.safetensors"}
)

// compare holds meshes to one rank: the same losses to 1e-6 over 10 steps, the same validation, and the same adapter or
// weights at the end.
func (s scheme) compare(t *testing.T, base string, meshes []mesh, more ...string) {
	t.Helper()
	alone := map[int]string{}
	set := slices.Concat(s.set, more)
	for _, m := range meshes {
		global := m.dp * m.rows * m.acc
		if alone[global] == "" {
			alone[global] = m.one().train(t, base, set...)
		}
		t.Run(s.name+" "+m.name, func(t *testing.T) {
			dir, want := m.train(t, base, set...), alone[global]
			closeLosses(t, losses(t, dir), losses(t, want))
			if slices.Contains(set, val) {
				closeLosses(t, validations(t, dir), validations(t, want))
			}
			sameTensors(t, filepath.Join(dir, "LATEST", s.file), filepath.Join(want, "LATEST", s.file))
		})
	}
}

// Meshes of several tests, which so share compiled programs.
var (
	eight = mesh{"dp2 x cp2 x tp2", 2, 2, 2, 2, 2, []string{sequence}}
	four  = mesh{"dp2 x tp2", 2, 1, 2, 2, 2, nil}
)

// TestMeshes is the part of the matrix that runs every time; see TestMatrix for all of it.
func TestMeshes(t *testing.T) {
	skip.InShort(t, "meshes against one rank, in processes")
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	lora.compare(t, base, []mesh{
		{"dp3 uneven", 3, 1, 1, 1, 2, nil}, // 3 divides neither the hidden size 32 nor the adapters' dim 4
		{"hsdp2x2 offloaded", 4, 1, 1, 1, 2, []string{hsdp, offload}},
		eight,
	}, val)
	full.compare(t, base, []mesh{four})
}

// closeLosses fails unless two runs' losses agree to 1e-6.
func closeLosses(t *testing.T, got, want []float64) {
	t.Helper()
	if len(got) != len(want) || len(got) == 0 {
		t.Errorf("%d losses, want %d", len(got), len(want))
		return
	}
	for i := range got {
		if !(math.Abs(got[i]/want[i]-1) <= 1e-6) {
			t.Errorf("number %d: loss %.9g, one rank's %.9g (%.2g apart)", i+1, got[i], want[i], got[i]/want[i]-1)
		}
	}
}

// validations reads the losses of validation.jsonl.
func validations(t *testing.T, dir string) (out []float64) {
	t.Helper()
	for _, line := range strings.Split(string(file(t, dir, "validation.jsonl")), "\n") {
		if _, v, ok := strings.Cut(line, `"val_loss":`); ok {
			f, err := strconv.ParseFloat(v[:strings.IndexAny(v, ",}")], 64)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, f)
		}
	}
	return out
}

// sameTensors compares two files of float32 tensors. Adam divides a gradient by its size, so a gradient of rounding noise
// moves a weight as far as a real one: single elements may differ by some steps of the learning rate, the whole not.
func sameTensors(t *testing.T, got, want string) {
	t.Helper()
	a, _, err := safetensors.ReadAll(got)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := safetensors.ReadAll(want)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != len(b) {
		t.Fatalf("%d tensors, want %d", len(a), len(b))
	}
	for i := range a {
		x, y := floatsOf(a[i].Data), floatsOf(b[i].Data)
		var gap, size float64
		for k := range x {
			gap += (x[k] - y[k]) * (x[k] - y[k])
			size += y[k] * y[k]
		}
		if a[i].Name != b[i].Name || !(math.Sqrt(gap) <= 1e-4*math.Sqrt(size)) {
			t.Errorf("%s (want %s): differs by %.2g of its size", a[i].Name, b[i].Name, math.Sqrt(gap/size))
		}
	}
}

func floatsOf(b []byte) []float64 {
	out := make([]float64, len(b)/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24))
	}
	return out
}

// TestSameMeshTwice: the same mesh twice gives the same bytes.
func TestSameMeshTwice(t *testing.T) {
	skip.InShort(t, "a mesh twice, in processes")
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	first, second := eight.train(t, base), eight.train(t, base)
	if !bytes.Equal(file(t, first, "LATEST", lora.file), file(t, second, "LATEST", lora.file)) {
		t.Error("other bytes")
	}
}

// TestResumeElsewhere: a run begun on 4 ranks goes on on 2, on 1, and ends on 8 as if it had been on one rank all along; so
// does full fine-tuning on 4, 2 and 1.
func TestResumeElsewhere(t *testing.T) {
	skip.InShort(t, "a run resumed on other numbers of ranks, in processes")
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	for _, x := range []struct {
		scheme
		legs []mesh
		ends []int // step that each leg ends at
	}{
		{lora, []mesh{four, {"", 1, 1, 2, 2, 4, nil}, eight.one(), eight}, []int{3, 5, 7, 10}},
		{full, []mesh{four, {"", 2, 1, 1, 2, 2, nil}, four.one()}, []int{3, 7, 10}},
	} {
		whole, parts := eight.one().train(t, base, x.set...), t.TempDir()
		for i, leg := range x.legs {
			r := leg.recipe(t, base, parts, x.set...)
			r.StepScheduler.MaxSteps = x.ends[i]
			trainOn(t, r, leg.world())
		}
		closeLosses(t, losses(t, parts), losses(t, whole))
	}
}
