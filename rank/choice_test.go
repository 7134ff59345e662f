package rank

import (
	"math"
	"slices"
	"strings"
	"testing"

	"gorun/rank/data"
)

// TestChoices scores choices of several lengths together, and compares with each scored alone.
func TestChoices(t *testing.T) {
	base := openTiny(t)
	s, err := OpenSession(testDevice(t), base, "f32", tinyAdapter(base))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	examples := []data.ChoiceExample{
		{Query: "A dog runs", Choices: []string{"away.", "in the street and barks", "naïve", "x"}},
		{Query: "Removing ice from the car: then ", Choices: []string{"stops", "goes on with it"}},
		{Query: strings.Repeat("long before ", 20), Choices: []string{"the end", "the end of it all"}},
	}
	sums := make([][]float64, len(examples))
	for i, e := range examples {
		for _, c := range e.Choices {
			query, err := base.Encode(strings.TrimRight(e.Query, " "))
			if err != nil {
				t.Fatal(err)
			}
			whole, err := base.Encode(e.Query + " " + c)
			if err != nil {
				t.Fatal(err)
			}
			logp, err := s.ScoreIDs(t.Context(), whole)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for _, l := range logp[len(query)-1:] {
				sum += float64(l)
			}
			sums[i] = append(sums[i], sum)
		}
	}
	for gold := range 2 {
		for i := range examples {
			examples[i].Gold = gold
		}
		got, err := s.Choices(t.Context(), examples)
		if err != nil {
			t.Fatal(err)
		}
		if want := choiceScore(examples, sums); got != want {
			t.Errorf("gold %d: %+v, one by one %+v", gold, got, want)
		}
	}
}

// TestChoiceScore: the three ways to pick, on sums that make them differ.
func TestChoiceScore(t *testing.T) {
	examples := []data.ChoiceExample{
		{Choices: []string{"aaaa", "é", "bb"}, Gold: 0}, // per character -1, -2, -2.5; per byte -1, -1, -2.5
		{Choices: []string{"a", "é"}, Gold: 1},          // per character -2, -3; per byte -2, -1.5
		{Choices: []string{"a", "b"}, Gold: 0},          // a tie
	}
	got := choiceScore(examples, [][]float64{{-4, -2, -5}, {-2, -3}, {-1, -1}})
	if math.Abs(got.Acc-1.0/3) > 1e-12 || math.Abs(got.AccNorm-2.0/3) > 1e-12 || math.Abs(got.AccBytes-1) > 1e-12 || got.Examples != 3 {
		t.Errorf("%+v", got)
	}
	if se := got.StdErr(0.5); math.Abs(se-math.Sqrt(0.25/2)) > 1e-12 {
		t.Errorf("standard error %g", se)
	}
}

// TestContinuations: what is too long loses its front, what cannot be scored is told with its place.
func TestContinuations(t *testing.T) {
	base := openTiny(t) // 256 positions
	all, err := base.continuations([]data.ChoiceExample{{Query: strings.Repeat("far away ", 200), Choices: []string{"x", "yes and no"}}})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := base.Encode(strings.Repeat("far away ", 200) + " x")
	if err != nil || len(all[0].ids) != 257 || !slices.Equal(all[0].ids, whole[len(whole)-257:]) || all[0].scored < 1 {
		t.Errorf("%d ids, %d scored (%v)", len(all[0].ids), all[0].scored, err)
	}
	for name, c := range map[string]struct {
		e    data.ChoiceExample
		want string
	}{
		"no query":  {data.ChoiceExample{Query: "  ", Choices: []string{"a"}, Origin: "f:3"}, "f:3: the query is empty"},
		"no choice": {data.ChoiceExample{Query: "q", Choices: []string{"a", ""}, Origin: "f:4"}, "f:4: choice 1"},
	} {
		if _, err := base.continuations([]data.ChoiceExample{c.e}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
