package rank

import (
	"math"
	"testing"
	"time"

	"gorun/csrc/device"
)

// TestValidationRows: a set is scored as many samples at a time as is asked, and its mean loss does not depend on it.
func TestValidationRows(t *testing.T) {
	job := prepare(t, tinyRecipe(t, tinyBase(t), t.TempDir())) // 3 samples
	s, err := OpenSession(testDevice(t), job.Base, "f32", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	score := func(rows int) (loss float64, passes int) {
		s.dev.Observe(func(p *device.Program, _ time.Duration) {
			if p.Name() == "score" {
				passes++
			}
		})
		defer s.dev.Observe(nil)
		loss, _, err := s.meanLoss(t.Context(), job.Val["default"], rows)
		if err != nil {
			t.Fatal(err)
		}
		return loss, passes
	}
	want, passes := score(3)
	if passes != 1 {
		t.Errorf("3 samples at a time: %d passes, want 1", passes)
	}
	for rows, n := range map[int]int{1: 3, 2: 2} {
		if got, passes := score(rows); passes != n || math.Abs(got-want) > 1e-5 {
			t.Errorf("%d samples at a time: %d passes and a loss of %g, want %d and %g", rows, passes, got, n, want)
		}
	}
}
