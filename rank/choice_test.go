package rank

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"gorun/csrc/device/devicetest"
	"gorun/model/tinymodel"
	"gorun/rank/data"
)

// TestChoices scores choices of several lengths together, with and without a shared query, and compares with each scored
// alone.
func TestChoices(t *testing.T) {
	for name, config := range map[string]string{
		"llama":   tinymodel.Llama,
		"mistral": strings.Replace(tinymodel.Llama, `"llama"`, `"mistral","sliding_window":12`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			base, err := OpenBase(tinyBaseOf(t, config))
			if err != nil {
				t.Fatal(err)
			}
			s, err := OpenSession(testDevice(t), base, "f32", tinyAdapter(base))
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := errors.Join(s.Close(), base.Close()); err != nil {
					t.Error(err)
				}
			}()
			checkChoices(t, s)
		})
	}
}

func checkChoices(t *testing.T, s *Session) {
	examples := []data.ChoiceExample{
		{Query: "A dog runs", Choices: []string{"away.", "in the street and barks", "naïve", "x"}},
		{Query: strings.Repeat("long before ", 25) + "that: then ", Choices: []string{"stops", "goes on with it"}},
		{Query: strings.Repeat("long before ", 20), Choices: []string{"the end", "the end of it all", "no", "an end"}},
	}
	all, err := s.Base.continuations(examples)
	if err != nil {
		t.Fatal(err)
	}
	if questions, alone := sharing(all); len(questions) != 2 || len(alone) != 4 {
		t.Errorf("%d questions share their query, %d continuations do not: want 2 and 4", len(questions), len(alone))
	}
	sums, err := s.choiceSums(t.Context(), examples)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []float32
	for i, list := range oneByOne(t, s, examples) {
		for j, sum := range list {
			got, want = append(got, float32(sums[i][j])), append(want, float32(sum))
		}
	}
	devicetest.AssertClose(t, "log-likelihoods", got, want, 1e-5, 0)
}

// oneByOne scores every choice in a batch of its own.
func oneByOne(t *testing.T, s *Session, examples []data.ChoiceExample) [][]float64 {
	t.Helper()
	sums := make([][]float64, len(examples))
	for i, e := range examples {
		query, err := s.Base.Encode(strings.TrimRight(e.Query, " "))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range e.Choices {
			whole, err := s.Base.Encode(e.Query + " " + c)
			if err != nil {
				t.Fatal(err)
			}
			logp, err := s.scoreIDs(t.Context(), whole)
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
	return sums
}

// TestSharing: what is shared ends before what any scored token is predicted from, and where texts part.
func TestSharing(t *testing.T) {
	ids := func(n int32, rest ...int32) []int32 {
		var out []int32
		for i := range n {
			out = append(out, i)
		}
		return append(out, rest...)
	}
	for name, c := range map[string]struct {
		list []continuation
		want int
	}{
		"alike":               {[]continuation{{ids: ids(50, 7, 8), scored: 2}, {ids: ids(50, 9), scored: 1}}, 49},
		"parting early":       {[]continuation{{ids: ids(50, 7, 8), scored: 2}, {ids: ids(40, 9, 9, 9), scored: 1}}, 40},
		"scored within query": {[]continuation{{ids: ids(50, 7), scored: 1}, {ids: ids(50, 8), scored: 5}}, 45},
		"different fronts":    {[]continuation{{ids: ids(50), scored: 1}, {ids: ids(50)[1:], scored: 1}}, 0},
	} {
		if got := sharedPrefix(c.list); got != c.want {
			t.Errorf("%s: %d tokens are shared, want %d", name, got, c.want)
		}
	}
	single := continuation{ids: ids(90), scored: 1}
	if questions, alone := sharing([]continuation{single, {ids: ids(90), scored: 1, example: 1}}); questions != nil || len(alone) != 2 {
		t.Errorf("single choices are shared: %v, %v", questions, alone)
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
