package rank

import "testing"

func TestPlural(t *testing.T) {
	for want, got := range map[string]string{
		"1 epoch": plural(1, "epoch"), "3 epochs": plural(3, "epoch"), "0 rows": plural(0, "row"), "2 micro-batches": plural(2, "micro-batch"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
