package rank

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorun/csrc/device/devicetest"
	"gorun/tools/skip"
)

// gpusOf says what the environment of each of so many ranks has more than ours, for them to have GPUs. Where there are
// fewer GPUs than ranks they share them: then NCCL is told that every rank is on a machine of its own, as it refuses two
// ranks of one machine on one GPU, and moves data between them by sockets.
func gpusOf(t *testing.T) func(ranks int) func(rank int) []string {
	t.Helper()
	if !devicetest.GPU() {
		skip.Because(t, "it is about ranks on NVIDIA GPUs: GORUN_TEST_DEVICE=cuda")
	}
	gpus := strings.Split(os.Getenv("CUDA_VISIBLE_DEVICES"), ",")
	if gpus[0] == "" {
		nodes, err := filepath.Glob("/dev/nvidia[0-9]*")
		if err != nil || len(nodes) == 0 {
			t.Fatalf("no GPUs: %v", err)
		}
		gpus = gpus[:0]
		for i := range nodes {
			gpus = append(gpus, fmt.Sprint(i))
		}
	}
	return func(ranks int) func(int) []string {
		if ranks <= len(gpus) {
			return nil
		}
		return func(rank int) []string {
			return []string{"CUDA_VISIBLE_DEVICES=" + gpus[rank%len(gpus)], fmt.Sprint("NCCL_HOSTID=", rank), "NCCL_SOCKET_IFNAME=lo"}
		}
	}
}

// TestGPUMeshes: on GPUs, every axis of the mesh gives the losses of one GPU; more ranks than GPUs share them. Products of
// float32 are made in TensorFloat-32 there, and of other shapes by other kernels.
func TestGPUMeshes(t *testing.T) {
	env := gpusOf(t)
	base := tinyBaseOf(t, unevenConfig)
	two := []mesh{
		{"dp2", 2, 1, 1, 2, 2, nil},
		{"dp2 without reshard, remat", 2, 1, 1, 2, 2, []string{keep, remat}},
		{"ddp2", 2, 1, 1, 2, 2, []string{hsdp}},
		{"tp2 sp", 1, 1, 2, 2, 4, []string{sequence}},
		{"cp2", 1, 2, 1, 2, 4, nil},
	}
	four := []mesh{
		{"dp4", 4, 1, 1, 1, 2, nil},
		{"hsdp 2x2", 4, 1, 1, 1, 2, []string{hsdp}},
		{"dp2 x tp2", 2, 1, 2, 2, 2, nil},
		{"dp2 x cp2", 2, 2, 1, 2, 2, nil},
		{"cp2 x tp2 sp", 1, 2, 2, 2, 4, []string{sequence}},
	}
	for _, c := range []struct {
		scheme
		more   string
		within float64 // relative
		meshes []mesh
	}{
		{lora, val, 1e-5, slices.Concat(two, four)},
		{full, val, 1e-5, two},
		{scheme{"lora in bf16", lora.set, lora.file}, `model.dtype="bf16"`, 5e-3, []mesh{two[0], two[3], two[4], four[1]}},
		{narrow, "checkpoint.enabled=true", 1e-2, []mesh{two[0], two[3], two[4], four[1]}}, // what rounds otherwise does so to 8 bits
	} {
		set := append([]string{c.more}, c.set...)
		alone := c.meshes[0].one().train(t, base, set...)
		for _, m := range c.meshes {
			t.Run(c.name+" "+m.name, func(t *testing.T) {
				dir := t.TempDir()
				ranks := startRanks(t, m.recipe(t, base, dir, set...), m.world(), env(m.world()))
				for i, err := range await(t, ranks) {
					if err != nil {
						t.Fatalf("rank %d: %v\n%s", i, err, ranks[i].stderr.String())
					}
				}
				worst := apart(t, losses(t, dir), losses(t, alone))
				if c.more == val {
					worst = math.Max(worst, apart(t, validations(t, dir), validations(t, alone)))
				}
				t.Logf("losses are at most %.2g apart from one GPU's", worst)
				if !(worst <= c.within) {
					t.Errorf("losses %v, one GPU's %v", losses(t, dir), losses(t, alone))
				}
			})
		}
	}
}

// apart is the greatest relative difference of two runs' losses.
func apart(t *testing.T, got, want []float64) (worst float64) {
	t.Helper()
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%d losses, want %d", len(got), len(want))
	}
	for i := range got {
		worst = math.Max(worst, math.Abs(got[i]/want[i]-1))
	}
	return worst
}

// TestGPURankDies kills one of two ranks on GPUs in the middle of a step: the other ends with an error that names it,
// within seconds, though NCCL would wait for ever.
func TestGPURankDies(t *testing.T) {
	env := gpusOf(t)(2)
	base := tinyBase(t)
	for name, m := range map[string]mesh{"step": {"", 2, 1, 1, 2, 2, nil}, "program": {"", 1, 1, 2, 2, 4, []string{sequence}}} {
		t.Run(name, func(t *testing.T) {
			ranks := startRanks(t, m.recipe(t, base, t.TempDir()), 2, env)
			other := make(chan error)
			go func() { other <- await(t, ranks[:1])[0] }() // it hears what the rank tells: a rank whose pipe is full waits
			victim := ranks[1]
			for victim.events.Scan() {
				if strings.Contains(victim.events.Text(), `"event":"step","step":3`) {
					break
				}
			}
			if err := victim.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			died := time.Now()
			err := <-other
			took := time.Since(died)
			_ = await(t, ranks[1:]) // it was killed
			t.Logf("the other rank ended after %s", took)
			if said := ranks[0].stderr.String(); err == nil || !strings.Contains(said, "rank 1 is gone") || !strings.Contains(said, "the last collectives") {
				t.Errorf("rank 0: %v\n%s", err, said)
			}
			if took > 5*time.Second {
				t.Errorf("that is more than 5 s")
			}
		})
	}
}
