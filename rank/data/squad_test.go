package data

import (
	"fmt"
	"slices"
	"testing"

	"gorun/configs"
)

// TestEncodeSQuAD is derived by hand. The text "Context: c Question: q Answer: blue moon" has the words "Context:" of 8
// bytes, " c" 2, " Question:" 10, " q" 2, " Answer:" 8, " blue" 5, " moon" 5; a word's id is 10 + its bytes, EOS is 2.
// The prompt alone ends in a space, which is a word of its own: six words. So AutoModel hides six tokens of the text,
// the answer's first with them. Inputs are all tokens but the last, labels all but the first.
func TestEncodeSQuAD(t *testing.T) {
	const example = `{"context":"c","question":"q","answers":[" blue moon ","moon"]}`
	const none = `{"context":"c","question":"q","answers":[]}`
	for _, c := range []struct {
		name        string
		example     string
		automodel   bool
		ids, labels []int32
	}{
		{"answer and EOS", example, false, []int32{18, 12, 20, 12, 18, 15, 15}, []int32{-100, -100, -100, -100, 15, 15, 2}},
		{"automodel", example, true, []int32{18, 12, 20, 12, 18, 15}, []int32{-100, -100, -100, -100, -100, 15}},
		{"automodel, one word", `{"context":"c","question":"q","answers":["moon"]}`, true,
			[]int32{18, 12, 20, 12, 18}, []int32{-100, -100, -100, -100, -100}},
		{"automodel, no answer", none, true, []int32{18, 12, 20, 12, 18}, []int32{-100, -100, -100, -100, -100}},
	} {
		s, err := squadSample(words{}, c.automodel, c.example)
		if err != nil || !slices.Equal(s.IDs, c.ids) || !slices.Equal(s.Labels, c.labels) {
			t.Errorf("%s: ids %v labels %v (%v), want %v %v", c.name, s.IDs, s.Labels, err, c.ids, c.labels)
		}
	}
	// Where the prompt's last space is a token of its own, it is no part of the answer, to us as to AutoModel.
	for automodel, want := range map[bool][]int32{false: {'m', 'o', 2}, true: {'m', 'o'}} {
		s, err := squadSample(letters{}, automodel, `{"context":"c","question":"q","answers":["mo"]}`)
		if err != nil || s.Valid() != len(want) || !slices.Equal(s.Labels[len(s.Labels)-len(want):], want) {
			t.Errorf("bytes, automodel %v: labels %v (%v), want %v at the end", automodel, s.Labels, err, want)
		}
	}
	_, err := squadSample(words{noEOS: true}, false, example)
	wantError(t, "no EOS", err, "end-of-sequence", "compat")
	if _, err := squadSample(words{noEOS: true}, true, example); err != nil {
		t.Errorf("automodel needs no EOS: %v", err)
	}
	_, err = squadSample(words{}, false, none)
	wantError(t, "no answer", err, "f:1: has no answer", "on_bad")
	_, err = squadSample(words{}, false, `{"context":"c","question":"q","answers":["  "]}`)
	wantError(t, "blank answer", err, "f:1: has no answer")
}

// squadSample makes the sample of one line of SQuAD.
func squadSample(tok Tokenizer, automodel bool, line string) (Sample, error) {
	c := configs.Dataset{Kind: "squad"}
	if automodel {
		c.Compat = "automodel"
	}
	return lineSample(c, tok, line)
}

// lineSample makes the sample of one JSON line of a data set.
func lineSample(c configs.Dataset, tok Tokenizer, line string) (s Sample, err error) {
	read, err := newReader(c, tok, 1000)
	if err != nil {
		return s, err
	}
	return s, visitLine("f:1", []byte(line), func(origin string, r record, err error) error {
		if err != nil {
			return err
		}
		enc, err := read(origin, r)
		if err != nil {
			return err
		}
		all, err := enc()
		if err == nil {
			s = all[0]
		}
		return err
	})
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
