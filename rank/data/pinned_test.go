package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"gorun/configs"
)

// pinnedText is a data set's file of n samples from 3 to 90 letters, of which the last third is to be answered.
func pinnedText(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"context":%q,"question":"q%d","answers":[%q]}`+"\n", strings.Repeat("abc ", i*7919%15), i, strings.Repeat("xyz", 1+i*104729%7))
	}
	return b.String()
}

// digestSteps is a digest of all that the model is given in a run, of all ranks one after the other.
func digestSteps(t *testing.T, d *Dataset, o LoaderOptions) string {
	t.Helper()
	h := sha256.New()
	for o.DPRank = range o.DPSize {
		for _, s := range run(t, d, o) {
			fmt.Fprintln(h, s.Epoch, s.Step, s.Samples, s.EndsEpoch, s.Last)
			for _, m := range s.Micro {
				fmt.Fprintln(h, m.Rows, m.Seq, m.Samples, m.Valid, m.places)
				for _, list := range [][]int32{m.IDs, m.Positions, m.Labels, m.Starts} {
					if err := binary.Write(h, binary.LittleEndian, list); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// TestPinned pins all that the model is given, to the last bit, as it was when tokens were kept in memory: in order and
// shuffled, packed and not, on one rank and on several, from the start and resumed.
func TestPinned(t *testing.T) {
	c := configs.Default().Dataset
	c.PathOrID, c.SeqLength, c.OnLong = write(t, "a.jsonl", pinnedText(500)), 100, "truncate"
	d, err := built(t, c, letters{}, 100, 256)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		name, want string
		o          LoaderOptions
	}{
		{"in order", "027a97b69ff35731", LoaderOptions{MicroBatch: 3, GradAcc: 2, DPSize: 1}},
		{"shuffled", "262945095397b1dd", LoaderOptions{MicroBatch: 3, GradAcc: 2, DPSize: 1, Shuffle: true}},
		{"four ranks", "a7f26b7fbc7e2e43", LoaderOptions{MicroBatch: 2, GradAcc: 2, DPSize: 4, Shuffle: true}},
		{"packed", "914501a41f8bade6", LoaderOptions{MicroBatch: 2, GradAcc: 1, DPSize: 1, Shuffle: true, Pack: 256}},
		{"packed, two ranks", "8ffb4987343668f3", LoaderOptions{MicroBatch: 2, GradAcc: 1, DPSize: 2, Shuffle: true, Pack: 256}},
		{"resumed", "37a68d88a77cbfa1", LoaderOptions{MicroBatch: 3, GradAcc: 2, DPSize: 2, Shuffle: true, Start: 20, StartSamples: 240}},
	} {
		p.o.Seed, p.o.Epochs, p.o.Pad = 1111, 2, 7
		if got := digestSteps(t, d, p.o); got != p.want {
			t.Errorf("%s: %s, want %s", p.name, got, p.want)
		}
	}
}
