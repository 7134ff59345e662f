package rank

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gorun/configs"
)

// TestScheduleGolden: every step of every schedule has transformers' rate (tools/oracle/schedule.py).
func TestScheduleGolden(t *testing.T) {
	var cases []struct {
		Name        string
		LR          float64
		MinLR       float64 `json:"min_lr"`
		WarmupSteps int     `json:"warmup_steps"`
		DecaySteps  int     `json:"decay_steps"`
		Total       int
		Rates       []float64
	}
	if err := json.Unmarshal(file(t, "testdata", "schedule.json"), &cases); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range cases {
		names[c.Name] = true
		s := configs.LRScheduler{Name: c.Name, WarmupSteps: c.WarmupSteps, DecaySteps: c.DecaySteps, MinLR: c.MinLR}
		for step, want := range c.Rates {
			if got := learningRate(configs.Optimizer{LR: c.LR}, s, step, c.Total); math.Abs(got-want) > 1e-14*c.LR {
				t.Errorf("%+v, step %d of %d: %g, want %g", s, step, c.Total, got, want)
			}
		}
	}
	if len(names) != 4 {
		t.Errorf("the golden rates are of %v, want all four schedules", names)
	}
}

// TestScheduleBounds: no schedule leaves [0, lr], falls below min_lr after warm-up or rises after its peak; all but the
// constant one end at min_lr.
func TestScheduleBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 300).Draw(t, "total")
		s := configs.LRScheduler{
			Name:        rapid.SampledFrom([]string{"constant", "linear", "cosine", "wsd"}).Draw(t, "name"),
			WarmupSteps: rapid.IntRange(0, total-1).Draw(t, "warmup"),
		}
		s.DecaySteps = rapid.IntRange(0, total-s.WarmupSteps).Draw(t, "decay")
		lr := rapid.Float64Range(1e-9, 10).Draw(t, "lr")
		s.MinLR = lr * rapid.Float64Range(0, 1).Draw(t, "floor")
		slack := 1e-12 * lr
		rate := func(step int) float64 { return learningRate(configs.Optimizer{LR: lr}, s, step, total) }
		if err := checkSchedule(s, total); err != nil {
			t.Fatal(err)
		}
		for step := range total + 1 {
			r := rate(step)
			switch {
			case r < 0 || r > lr+slack:
				t.Fatalf("step %d: %g is outside 0 to %g", step, r, lr)
			case step >= s.WarmupSteps && r < s.MinLR-slack:
				t.Fatalf("step %d: %g is below min_lr %g", step, r, s.MinLR)
			case step > s.WarmupSteps && r > rate(step-1)+slack:
				t.Fatalf("step %d: %g is more than the step before", step, r)
			case step > 0 && step <= s.WarmupSteps && r < rate(step-1)-slack:
				t.Fatalf("step %d of the warm-up: %g is less than the step before", step, r)
			}
		}
		end := s.MinLR
		if s.Name == "constant" {
			end = lr
		}
		if got := rate(total); math.Abs(got-end) > slack {
			t.Fatalf("it ends at %g, want %g", got, end)
		}
		if got := rate(s.WarmupSteps); math.Abs(got-lr) > slack {
			t.Fatalf("the peak is %g, want %g", got, lr)
		}
	})
}

// TestScheduleLateWarmup: where warm-up leaves less than the last tenth, wsd's fall is as long as what is left.
func TestScheduleLateWarmup(t *testing.T) {
	s := configs.LRScheduler{Name: "wsd", WarmupSteps: 39, MinLR: 0.5}
	for step, want := range map[int]float64{39: 1, 40: 0.5} {
		if got := learningRate(configs.Optimizer{LR: 1}, s, step, 40); math.Abs(got-want) > 1e-15 {
			t.Errorf("step %d of 40: %g, want %g", step, got, want)
		}
	}
}

// TestCheckSchedule: a schedule longer than the run is refused by name.
func TestCheckSchedule(t *testing.T) {
	for _, c := range []struct {
		s    configs.LRScheduler
		want string
	}{
		{configs.LRScheduler{Name: "linear", WarmupSteps: 10}, ""},
		{configs.LRScheduler{Name: "linear", WarmupSteps: 11}, "lr_scheduler.warmup_steps: 11"},
		{configs.LRScheduler{Name: "wsd", WarmupSteps: 6, DecaySteps: 4}, ""},
		{configs.LRScheduler{Name: "wsd", WarmupSteps: 6, DecaySteps: 5}, "lr_scheduler.decay_steps: 5"},
	} {
		if got := fmt.Sprint(checkSchedule(c.s, 10)); c.want == "" && got != "<nil>" || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s, want %q", c.s, got, c.want)
		}
	}
}
