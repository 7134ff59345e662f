package rank

import (
	"context"
	"errors"
	"testing"

	"gorun/model/infer"
	"gorun/rank/data"
	"gorun/tools/countdown"
)

// TestInterrupted: whenever a session is interrupted, it says so.
func TestInterrupted(t *testing.T) {
	base, err := OpenBase(tinyBase(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSession(testDevice(t), base, "f32", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), base.Close()); err != nil {
			t.Error(err)
		}
	})
	ids, long := []int32{5, 6, 7}, make([]int32, 40)
	for i := range long {
		long[i] = int32(5 + i)
	}
	question := data.ChoiceExample{Query: "The number of 1 is seven, and the number of 2 is four; so what is the number of 3?", Choices: []string{"one", "two"}}
	for name, work := range map[string]func(context.Context) error{
		"generate": func(ctx context.Context) error {
			_, err := s.Generate(ctx, infer.Request{Prompts: [][]int32{ids}, MaxTokens: 2})
			return err
		},
		"score":   func(ctx context.Context) error { _, err := s.scoreIDs(ctx, long); return err },
		"logits":  func(ctx context.Context) error { _, err := s.Logits(ctx, ids, []int32{0, 2}); return err },
		"choices": func(ctx context.Context) error { _, err := s.Choices(ctx, []data.ChoiceExample{question}); return err },
	} {
		t.Run(name, func(t *testing.T) {
			for left := range 100 {
				if err := work(&countdown.Context{Context: t.Context(), Left: left}); err == nil {
					if left == 0 {
						t.Error("it does not ask")
					}
					return
				} else if !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled after %d questions: %v", left, err)
				}
			}
			t.Error("it asks without end")
		})
	}
}
