package weights

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
)

func TestRoundBits(t *testing.T) {
	for _, c := range []struct {
		in   uint32
		want uint16
	}{
		{0x3F800000, 0x3F80}, // 1
		{0x3F808000, 0x3F80}, // half way, to even: down
		{0x3F818000, 0x3F82}, // half way, to even: up
		{0x3F808001, 0x3F81},
		{0x7F7FFFFF, 0x7F80}, // the largest float32 rounds to infinity
		{0xFF800000, 0xFF80},
		{0x7F800001, 0x7FC0}, // a NaN stays one
		{0x80000000, 0x8000},
	} {
		if got := roundBits(c.in); got != c.want {
			t.Errorf("%08x: %04x, want %04x", c.in, got, c.want)
		}
	}
}

// TestConvertRoundTrip: every bfloat16 and float16 survives the way to float32, and bfloat16 the way back.
func TestConvertRoundTrip(t *testing.T) {
	src := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	wide, back := make([]byte, 2*len(src)), make([]byte, len(src))
	for _, err := range []error{
		convert(wide, dtypes.Float32, src, dtypes.BFloat16),
		convert(back, dtypes.BFloat16, wide, dtypes.Float32),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1 << 16 {
		got := binary.LittleEndian.Uint16(back[2*i:])
		if nan := i&0x7F80 == 0x7F80 && i&0x7F != 0; !nan && got != uint16(i) || nan && got != uint16(i)|0x40 {
			t.Fatalf("%04x came back as %04x", i, got)
		}
	}
	if err := convert(wide, dtypes.Float32, src, dtypes.Float16); err != nil {
		t.Fatal(err)
	}
	for i := range 1 << 16 {
		sign, exp, frac := 1-2*float64(i>>15), i>>10&31, float64(i&1023)/1024
		want := sign * math.Ldexp(1+frac, exp-15)
		switch {
		case exp == 0:
			want = sign * math.Ldexp(frac, -14)
		case exp == 31 && frac == 0:
			want = math.Inf(int(sign))
		case exp == 31:
			want = math.NaN()
		}
		got := float64(math.Float32frombits(binary.LittleEndian.Uint32(wide[4*i:])))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("float16 %04x is %v, want %v", i, got, want)
		}
	}
	if err := convert(wide, dtypes.Float32, src, dtypes.Int64); err == nil {
		t.Error("no error for Int64")
	}
}

func TestPairedRowIsAPermutation(t *testing.T) {
	const headDim, rows = 8, 24
	seen := make(map[int]bool)
	for row := range rows {
		seen[pairedRow(row, headDim)] = true
	}
	if len(seen) != rows || pairedRow(9, headDim) != 10 || pairedRow(12, headDim) != 9 {
		t.Errorf("%d rows reached, 9 from %d, 12 from %d", len(seen), pairedRow(9, headDim), pairedRow(12, headDim))
	}
}

func BenchmarkConvert(b *testing.B) {
	const values = 1 << 20
	for _, c := range []struct{ from, to dtypes.DType }{
		{dtypes.BFloat16, dtypes.BFloat16}, {dtypes.BFloat16, dtypes.Float32}, {dtypes.Float16, dtypes.Float32}, {dtypes.Float32, dtypes.BFloat16},
	} {
		b.Run(c.from.String()+"-"+c.to.String(), func(b *testing.B) {
			src, dst := make([]byte, values*c.from.Size()), make([]byte, values*c.to.Size())
			for i := range values {
				Store(src[i*c.from.Size():], dtypes.BFloat16, []float32{float32(i) / 7})
			}
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if err := convert(dst, c.to, src, c.from); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
