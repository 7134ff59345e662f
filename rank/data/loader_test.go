package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// numbered set: sample i has the id i in every one of its 1 + i%70 tokens.
func numberedSet(n int) *Dataset {
	var all []Sample
	for i := range n {
		s := Sample{IDs: make([]int32, i%70+1), Labels: make([]int32, i%70+1)}
		for t := range s.IDs {
			s.IDs[t], s.Labels[t] = int32(i), int32(i)
		}
		all = append(all, s)
	}
	return setOf(all)
}

// run takes a loader to its end.
func run(t interface {
	Helper()
	Fatal(...any)
}, d *Dataset, o LoaderOptions) []*Step {
	t.Helper()
	l, err := d.NewLoader(o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out []*Step
	for {
		s, err := l.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
}

// show writes what is in steps, but for the padding.
func show(steps []*Step) (out []string) {
	for _, s := range steps {
		line := fmt.Sprint(s.Step, " ", s.Epoch, " ", s.EndsEpoch, " ", s.Samples, " ", s.Last)
		for _, m := range s.Micro {
			line += fmt.Sprint(" ", m.Samples, m.Seq)
		}
		out = append(out, line)
	}
	return out
}

// seen is the samples of a step, of one rank's.
func seen(s *Step) (out []int) {
	for _, m := range s.Micro {
		out = append(out, m.Samples...)
	}
	return out
}

// total is the length of a run.
func total(t interface {
	Helper()
	Fatal(...any)
}, d *Dataset, o LoaderOptions) int {
	t.Helper()
	n, err := d.Steps(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func drawOptions(t *rapid.T) LoaderOptions {
	return LoaderOptions{
		Pack: rapid.SampledFrom([]int{0, 70, 200}).Draw(t, "pack"),
		Seed: rapid.Int64().Draw(t, "seed"), Shuffle: rapid.Bool().Draw(t, "shuffle"), Epochs: rapid.IntRange(1, 3).Draw(t, "epochs"),
		MicroBatch: rapid.IntRange(1, 3).Draw(t, "micro"), GradAcc: rapid.IntRange(1, 3).Draw(t, "acc"), DPSize: 1,
	}
}

// TestRanks: whatever the number of ranks, a step's ranks together see the same samples, each once an epoch, in as many
// micro-batches.
func TestRanks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 120).Draw(t, "samples")
		d, base := numberedSet(n), drawOptions(t)
		base.MicroBatch *= 8
		var want [][]int
		var epochEnds []bool
		for _, dp := range []int{1, 2, 4, 8} {
			o := base
			o.MicroBatch, o.DPSize = base.MicroBatch/dp, dp
			got := make([][]int, total(t, d, o))
			micros := make([]int, len(got))
			ends := make([]bool, len(got))
			for o.DPRank = range dp {
				steps := run(t, d, o)
				if len(steps) != len(got) {
					t.Fatalf("%d steps, want %d", len(steps), len(got))
				}
				for i, s := range steps {
					if o.DPRank > 0 && len(s.Micro) != micros[i] {
						t.Fatalf("ranks have %d and %d micro-batches in step %d", len(s.Micro), micros[i], i)
					}
					micros[i], ends[i] = len(s.Micro), s.EndsEpoch
					got[i] = append(got[i], seen(s)...)
				}
			}
			for i := range got {
				slices.Sort(got[i])
			}
			if want == nil {
				want, epochEnds = got, ends
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%d ranks see %v, one sees %v", dp, got, want)
			}
		}
		epochs := 0
		var all []int
		for i, samples := range want {
			if all = append(all, samples...); !epochEnds[i] {
				continue
			}
			slices.Sort(all)
			if !slices.Equal(all, order(0, 0, n, false)) {
				t.Fatalf("epoch %d sees %v", epochs, all)
			}
			epochs, all = epochs+1, nil
		}
		if epochs != base.Epochs || len(all) > 0 {
			t.Fatalf("%d epochs end, want %d; %v are of none", epochs, base.Epochs, all)
		}
	})
}

// TestResume: from any step on, a run goes on as if it had never stopped, told by steps alone or by samples too.
func TestResume(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "samples")
		d, o := numberedSet(n), drawOptions(t)
		o.MaxSteps = rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "max steps")
		steps := run(t, d, o)
		whole := show(steps)
		if len(whole) != total(t, d, o) || !steps[len(steps)-1].Last {
			t.Fatalf("%d steps of %d: %v", len(whole), total(t, d, o), whole)
		}
		o.Start = rapid.IntRange(0, len(whole)).Draw(t, "start")
		if rest := show(run(t, d, o)); !slices.Equal(rest, whole[o.Start:]) {
			t.Fatalf("resumed at %d:\n%s\nwant\n%s", o.Start, strings.Join(rest, "\n"), strings.Join(whole[o.Start:], "\n"))
		}
		for _, s := range steps[:o.Start] {
			o.StartSamples += int64(s.Samples)
		}
		if total := total(t, d, o); total != len(whole) {
			t.Fatalf("resumed at %d, sample %d: %d steps, want %d", o.Start, o.StartSamples, total, len(whole))
		}
		if rest := show(run(t, d, o)); !slices.Equal(rest, whole[o.Start:]) {
			t.Fatalf("resumed at %d, sample %d:\n%s\nwant\n%s", o.Start, o.StartSamples, strings.Join(rest, "\n"), strings.Join(whole[o.Start:], "\n"))
		}
	})
}

// TestResumeOtherSize: with steps of another size too, a resumed run sees what the first part has not, in its order.
func TestResumeOtherSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "samples")
		d, o := numberedSet(n), drawOptions(t)
		var whole []int
		for e := range o.Epochs {
			rows := deck{samples: order(o.Seed, e, n, o.Shuffle)}
			if o.Pack > 0 {
				rows = d.pack(rows.samples, o.Pack)
			}
			whole = append(whole, rows.samples...)
		}
		first := run(t, d, o)
		o.Start = rapid.IntRange(1, len(first)).Draw(t, "start")
		var got []int
		for _, s := range first[:o.Start] {
			got = append(got, seen(s)...)
		}
		o.StartSamples = int64(len(got))
		o.MicroBatch = rapid.IntRange(1, 5).Draw(t, "micro after")
		rest := run(t, d, o)
		if len(rest) != total(t, d, o)-o.Start {
			t.Fatalf("%d steps are left, want %d", len(rest), total(t, d, o)-o.Start)
		}
		ends := 0
		for i, s := range rest {
			got = append(got, seen(s)...)
			end := len(got)%n == 0
			if s.Step != o.Start+i || end != s.EndsEpoch || s.Last != (i == len(rest)-1) {
				t.Fatalf("step %+v ends an epoch: %v", s, end)
			}
			if end {
				ends++
			}
		}
		if want := o.Epochs - int(o.StartSamples)/n; ends != want {
			t.Fatalf("%d epochs end, want %d", ends, want)
		}
		if !slices.Equal(got, whole) {
			t.Fatalf("saw %v, want %v", got, whole)
		}
	})
}

// TestOrder pins the order: a run must resume as it began, whatever version of this program began it.
func TestOrder(t *testing.T) {
	for epoch, want := range []string{"[1 9 3 0 5 6 8 4 2 7]", "[7 4 9 1 8 6 5 0 3 2]"} {
		if got := fmt.Sprint(order(1111, epoch, 10, true)); got != want {
			t.Errorf("epoch %d: %s, want %s", epoch, got, want)
		}
	}
	if got := fmt.Sprint(order(1111, 0, 4, false)); got != "[0 1 2 3]" {
		t.Errorf("not shuffled: %s", got)
	}
}

func TestLoaderEnds(t *testing.T) {
	l, err := numberedSet(100).NewLoader(LoaderOptions{Epochs: 1000, MicroBatch: 1, GradAcc: 1, DPSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	if _, err := l.Next(ctx); err != nil {
		t.Fatal(err)
	}
	why := errors.New("why")
	cancel(why)
	if _, err = l.Next(ctx); !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
	l.Close() // goleak sees whether its goroutine ended
	l.Close()
	if _, err := l.Next(context.Background()); !errors.Is(err, errClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestLoaderWaits: Next ends with its context while it waits for a step.
func TestLoaderWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Loader{steps: make(chan *Step), closed: make(chan struct{})}
	got := make(chan error)
	go func() {
		_, err := l.Next(ctx)
		got <- err
	}()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLoaderOptions(t *testing.T) {
	good := LoaderOptions{Epochs: 1, MicroBatch: 1, GradAcc: 1, DPSize: 1}
	for want, change := range map[string]func(o *LoaderOptions){
		"0 rows":            func(o *LoaderOptions) { o.MicroBatch = 0 },
		"0 micro-batches":   func(o *LoaderOptions) { o.GradAcc = 0 },
		"0 epochs":          func(o *LoaderOptions) { o.Epochs = 0 },
		"-1 steps at most":  func(o *LoaderOptions) { o.MaxSteps = -1 },
		"rank 0 of 0":       func(o *LoaderOptions) { o.DPSize = 0 },
		"rank 1 of 1":       func(o *LoaderOptions) { o.DPRank = 1 },
		"rank -1 of 1":      func(o *LoaderOptions) { o.DPRank = -1 },
		"step -1, sample 0": func(o *LoaderOptions) { o.Start = -1 },
		"sample -1":         func(o *LoaderOptions) { o.StartSamples = -1 },
		"rows of -1 tokens": func(o *LoaderOptions) { o.Pack = -1 },
	} {
		o := good
		change(&o)
		_, err := numberedSet(3).NewLoader(o)
		wantError(t, want, err, want)
	}
	_, err := numberedSet(0).NewLoader(good)
	wantError(t, "no samples", err, "no samples")
}
