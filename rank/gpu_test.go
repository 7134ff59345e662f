package rank

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorun/tools/skip"
)

// twoGPUs returns what rank's environment adds for two ranks on GPUs: with a single GPU both share it, and NCCL, told that
// they are on two machines, moves data between them by sockets.
func twoGPUs(t *testing.T) func(rank int) []string {
	t.Helper()
	if os.Getenv("GORUN_TEST_DEVICE") != "cuda" {
		skip.Because(t, "it is about ranks on NVIDIA GPUs: GORUN_TEST_DEVICE=cuda")
	}
	nodes, err := filepath.Glob("/dev/nvidia[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) > 1 {
		return nil
	}
	return func(rank int) []string {
		return []string{"CUDA_VISIBLE_DEVICES=0", fmt.Sprint("NCCL_HOSTID=", rank), "NCCL_SOCKET_IFNAME=lo"}
	}
}

// TestGPUMeshes: on two GPUs, every axis of the mesh gives the losses of one GPU. Products of float32 are made in
// TensorFloat-32 there, and of other shapes by other kernels.
func TestGPUMeshes(t *testing.T) {
	env := twoGPUs(t)
	base := tinyBaseOf(t, unevenConfig)
	for _, s := range []scheme{lora, full} {
		var alone string
		for _, m := range []mesh{
			{"dp2", 2, 1, 1, 2, 2, nil},
			{"dp2 without reshard, remat", 2, 1, 1, 2, 2, []string{keep, remat}},
			{"ddp2", 2, 1, 1, 2, 2, []string{hsdp}},
			{"tp2 sp", 1, 1, 2, 2, 4, []string{sequence}},
			{"cp2", 1, 2, 1, 2, 4, nil},
		} {
			set := append([]string{val}, s.set...)
			if alone == "" {
				alone = m.one().train(t, base, set...)
			}
			t.Run(s.name+" "+m.name, func(t *testing.T) {
				dir := t.TempDir()
				ranks := startRanks(t, m.recipe(t, base, dir, set...), 2, env)
				for i, err := range await(t, ranks) {
					if err != nil {
						t.Fatalf("rank %d: %v\n%s", i, err, ranks[i].stderr.String())
					}
				}
				worst := math.Max(apart(t, losses(t, dir), losses(t, alone)), apart(t, validations(t, dir), validations(t, alone)))
				t.Logf("losses are at most %.2g apart from one GPU's", worst)
				if !(worst <= 1e-4) {
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
	env := twoGPUs(t)
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
