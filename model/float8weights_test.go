package model_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model"
)

// TestFloat8Pieces: a weight that is rounded in pieces of rows, and turned in pieces of columns, is to the byte that which is
// rounded at once, and has the same unit, whether the pieces are equal or some of them short or empty.
func TestFloat8Pieces(t *testing.T) {
	dev := devicetest.OpenHasty(t)
	d := tiny(nil)
	m, err := model.New(dev, model.Config{Decoder: d, Compute: dtypes.BFloat16, Adapters: adapters(d, 3), Float8: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	const out, in = 9, 5
	weight, most := make([]uint16, out*in), uint16(0) // bfloat16
	for i := range weight {
		weight[i] = uint16(i*i%7)<<5 + 0x3c01 + uint16(i%2)<<15
		most = max(most, weight[i]&0x7fff)
	}
	upload := func(v []uint16, rows int) *device.Buffer {
		b, err := device.FromSlice(dev, dtypes.BFloat16, v, rows, in)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	whole, err := m.Float8(upload(weight, out))
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(whole)
	for _, pieces := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(pieces, " pieces"), func(t *testing.T) {
			rows, cols := (out+pieces-1)/pieces, (in+pieces-1)/pieces
			var narrow, turned []uint8
			for i := range pieces {
				lo, hi := min(out, i*rows), min(out, (i+1)*rows)
				piece, err := m.Float8Rows(upload(slices.Concat(weight[lo*in:hi*in], make([]uint16, (rows-hi+lo)*in)), rows), math.Float32frombits(uint32(most)<<16))
				if err != nil {
					t.Fatal(err)
				}
				narrow = append(narrow, bytesOf(t, piece[0])[:(hi-lo)*in]...)
				if unit := bytesOf(t, piece[1]); !slices.Equal(unit, bytesOf(t, whole[2])) {
					t.Errorf("piece %d has unit %v", i, unit)
				}
				device.FreeAll(piece)
				lo, hi = min(in, i*cols), min(in, (i+1)*cols)
				columns, err := m.Float8Turned(whole[0], lo, cols)
				if err != nil {
					t.Fatal(err)
				}
				got := bytesOf(t, columns)
				columns.Free()
				if slices.Max(append(got[(hi-lo)*out:], 0)) > 0 {
					t.Errorf("rows behind the columns of piece %d are %v", i, got[(hi-lo)*out:])
				}
				turned = append(turned, got[:(hi-lo)*out]...)
			}
			if want := bytesOf(t, whole[0]); !slices.Equal(narrow, want) || len(want) != out*in {
				t.Errorf("rounded\n%v, at once\n%v", narrow, want)
			}
			if want := bytesOf(t, whole[1]); !slices.Equal(turned, want) {
				t.Errorf("turned\n%v, at once\n%v", turned, want)
			}
		})
	}
}

// bytesOf downloads a buffer.
func bytesOf(t *testing.T, b *device.Buffer) []byte {
	t.Helper()
	out := make([]byte, b.Shape().Bytes())
	if err := b.Download(out); err != nil {
		t.Fatal(err)
	}
	return out
}
