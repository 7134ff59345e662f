package rank

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// TestFloat8: a base in 8-bit floats trains as one in bfloat16 does, nearly, says so, and a run that was stopped goes on to
// the same bytes.
func TestFloat8(t *testing.T) {
	base, wide, whole, parts := tinyBase(t), t.TempDir(), t.TempDir(), t.TempDir()
	mustTrain(t, tinyRecipe(t, base, wide, "model.dtype=bf16"))
	const float8 = "peft.base_precision=fp8"
	r := tinyRecipe(t, base, whole, "model.dtype=bf16", float8)
	mustTrain(t, r)
	var plan bytes.Buffer
	job, err := Prepare(t.Context(), r, asIs)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(job.Describe(&plan), job.Close()); err != nil || !strings.Contains(plan.String(), "weights of blocks in 8-bit floats") {
		t.Errorf("nothing is said of the base: %v\n%s", err, plan.String())
	}
	want, got := losses(t, wide), losses(t, whole)
	for i := range want {
		if len(got) != len(want) || !(math.Abs(got[i]/want[i]-1) < 0.03) {
			t.Fatalf("losses %v, in bfloat16 %v", got, want)
		}
	}
	if got[0] == want[0] {
		t.Errorf("the loss is %v, to the last bit that of bfloat16", got[0])
	}
	r = tinyRecipe(t, base, parts, "model.dtype=bf16", float8, "step_scheduler.max_steps=3")
	mustTrain(t, r)
	r.StepScheduler.MaxSteps = 0
	mustTrain(t, r)
	if !bytes.Equal(file(t, parts, "LATEST", "adapter_model.safetensors"), file(t, whole, "LATEST", "adapter_model.safetensors")) {
		t.Error("resumed: another adapter")
	}
}

// TestFloat8Ends: the first and the last fifteenth of the blocks are left as they are, of few blocks none.
func TestFloat8Ends(t *testing.T) {
	for layers, want := range map[int]int{2: 0, 16: 1, 30: 2, 32: 2, 80: 5} {
		if got := float8Ends(layers); got != want || 2*got >= layers {
			t.Errorf("%d of %d blocks, want %d", got, layers, want)
		}
	}
}

// TestFloat8Refused: ranks that share the base among them, and kinds of adapters that need it in a wider dtype.
func TestFloat8Refused(t *testing.T) {
	base := tinyBase(t)
	for _, c := range []struct {
		sets  []string
		world int
		want  string // "" = accepted
	}{
		{nil, 1, ""},
		{[]string{"distributed.dp_replicate_size=2"}, 2, ""},
		{nil, 2, "shards it over 2: replicate it with distributed.dp_replicate_size = 2"},
		{[]string{"distributed.cp_size=2"}, 2, "shards it over 2"},
		{[]string{"distributed.tp_size=2"}, 2, "tensor parallel"},
		{[]string{"distributed.cpu_offload=true"}, 1, "drop distributed.cpu_offload"},
		{[]string{"peft.use_dora=true", "peft.dropout=0"}, 1, "DoRA"},
	} {
		r := tinyRecipe(t, base, t.TempDir(), append(c.sets, "model.dtype=bf16", "peft.base_precision=fp8")...)
		job, err := PrepareAt(t.Context(), Place{World: c.world, Addr: "127.0.0.1:1"}, r, asIs)
		if err == nil {
			err = job.Close()
			if c.want != "" {
				t.Errorf("%v on %d ranks: accepted", c.sets, c.world)
			}
		}
		if text := fmt.Sprint(err); c.want != "" && (!strings.Contains(text, c.want) || !strings.Contains(text, "peft.base_precision")) || c.want == "" && err != nil {
			t.Errorf("%v on %d ranks: got %v, want %q", c.sets, c.world, err, c.want)
		}
	}
}
