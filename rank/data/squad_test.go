package data

import (
	"fmt"
	"slices"
	"testing"
)

// TestEncodeSQuAD is derived by hand. The text "Context: c Question: q Answer: blue moon" has the words "Context:" of 8
// bytes, " c" 2, " Question:" 10, " q" 2, " Answer:" 8, " blue" 5, " moon" 5; a word's id is 10 + its bytes, EOS is 2.
// The prompt alone ends in a space, which is a word of its own: six words. So AutoModel hides six tokens of the text,
// the answer's first with them. Inputs are all tokens but the last, labels all but the first.
func TestEncodeSQuAD(t *testing.T) {
	example := SQuADExample{Context: "c", Question: "q", Answers: []string{" blue moon ", "moon"}, Origin: "f:1"}
	none := SQuADExample{Context: "c", Question: "q", Origin: "f:9"}
	for _, c := range []struct {
		name        string
		example     SQuADExample
		automodel   bool
		ids, labels []int32
	}{
		{"answer and EOS", example, false, []int32{18, 12, 20, 12, 18, 15, 15}, []int32{-100, -100, -100, -100, 15, 15, 2}},
		{"automodel", example, true, []int32{18, 12, 20, 12, 18, 15}, []int32{-100, -100, -100, -100, -100, 15}},
		{"automodel, one word", SQuADExample{Context: "c", Question: "q", Answers: []string{"moon"}}, true,
			[]int32{18, 12, 20, 12, 18}, []int32{-100, -100, -100, -100, -100}},
		{"automodel, no answer", none, true, []int32{18, 12, 20, 12, 18}, []int32{-100, -100, -100, -100, -100}},
	} {
		f, err := newSQuADFormat(words{}, c.automodel)
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.encode(c.example)
		if err != nil || !slices.Equal(s.IDs, c.ids) || !slices.Equal(s.Labels, c.labels) {
			t.Errorf("%s: ids %v labels %v (%v), want %v %v", c.name, s.IDs, s.Labels, err, c.ids, c.labels)
		}
	}
	// Where the prompt's last space is a token of its own, it is no part of the answer, to us as to AutoModel.
	for automodel, want := range map[bool][]int32{false: {'m', 'o', 2}, true: {'m', 'o'}} {
		f, err := newSQuADFormat(letters{}, automodel)
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.encode(SQuADExample{Context: "c", Question: "q", Answers: []string{"mo"}})
		if err != nil || s.Valid() != len(want) || !slices.Equal(s.Labels[len(s.Labels)-len(want):], want) {
			t.Errorf("bytes, automodel %v: labels %v (%v), want %v at the end", automodel, s.Labels, err, want)
		}
	}
	_, err := newSQuADFormat(words{noEOS: true}, false)
	wantError(t, "no EOS", err, "end-of-sequence", "compat")
	if _, err := newSQuADFormat(words{noEOS: true}, true); err != nil {
		t.Errorf("automodel needs no EOS: %v", err)
	}
	f, err := newSQuADFormat(words{}, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.encode(none)
	wantError(t, "no answer", err, "f:9: has no answer", "on_bad")
	_, err = f.encode(SQuADExample{Answers: []string{"  "}, Origin: "f:3"})
	wantError(t, "blank answer", err, "f:3: has no answer")
}

func TestShow(t *testing.T) {
	decode := func(ids []int32) string { return fmt.Sprint(ids) }
	for _, c := range []struct {
		s    Sample
		want string
	}{
		{Sample{IDs: []int32{3, 4, 5}, Labels: []int32{-100, 5, 6}, Origin: "f:1"}, "f:1 (3 tokens, 2 trained on)\n[3 4][[[5 6]]]"},
		{Sample{IDs: []int32{3, 4, 5}, Labels: []int32{4, -100, 6}, Origin: "f:2"}, "f:2 (3 tokens, 2 trained on)\n[3][[[4]]][5][[[6]]]"},
		{Sample{IDs: []int32{3, 4}, Labels: []int32{-100, -100}, Origin: "f:3"}, "f:3 (2 tokens, 0 trained on)\n[3 4]"},
	} {
		if got := Show(c.s, decode); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestDemo reads the data set that gorun brings: it must load whole.
func TestDemo(t *testing.T) {
	for split, least := range map[string]int{"train": 240, "validation": 40} {
		got, err := SQuAD(DemoSQuAD, split, 0)
		if err != nil || len(got) < least {
			t.Errorf("%s: %d examples, %v", split, len(got), err)
		}
		if few, err := SQuAD(DemoSQuAD, split, 3); err != nil || len(few) != 3 || few[2].ID != got[2].ID {
			t.Errorf("%s: three of them are %v, %v", split, few, err)
		}
	}
	_, err := SQuAD(DemoSQuAD, "test", 0)
	wantError(t, "a split that is not there", err, "train and validation")
}
