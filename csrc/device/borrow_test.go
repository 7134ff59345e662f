package device

import (
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
)

// TestShelf: memory is found again by its shape, once; no more stays than three times what was borrowed at once, and nothing
// after the end.
func TestShelf(t *testing.T) {
	wide, tall := MakeShape(dtypes.Float32, 2, 4), MakeShape(dtypes.Float32, 4, 2)
	s := shelf{most: wide.Bytes()}
	for i, want := range []bool{true, true, true, false} {
		if got := s.put(csrc.Buffer{}, []Shape{wide, tall}[i%2]); got != want {
			t.Errorf("piece %d stays: %t, want %t", i, got, want)
		}
	}
	for i, want := range []bool{true, false} {
		if _, got := s.take(tall); got != want {
			t.Errorf("a tall piece the time %d: %t, want %t", i, got, want)
		}
	}
	if got := s.size; got != 2*wide.Bytes() {
		t.Errorf("%d bytes are left, want %d", got, 2*wide.Bytes())
	}
	if all := s.clear(); len(all) != 2 {
		t.Errorf("%d pieces are left, want 2", len(all))
	}
	if s.put(csrc.Buffer{}, wide) {
		t.Error("a piece stays after the end")
	}
}
