package rank

import (
	"encoding/binary"
	"math"
	"testing"
)

// TestGreatest: of numbers in bfloat16 the greatest magnitude, whatever its sign; of none, and of zeros, nothing.
func TestGreatest(t *testing.T) {
	for _, c := range []struct {
		of   []float32
		want float32
	}{
		{nil, 0}, {[]float32{0, float32(math.Copysign(0, -1))}, 0}, {[]float32{1, -3, 2}, 3}, {[]float32{-0.5, 0.25}, 0.5},
		{[]float32{1e-30, -1e30, 7}, cutToBF16(1e30)}, {[]float32{0x1p-133}, 0x1p-133},
	} {
		var data []byte
		for _, x := range c.of {
			data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(x)>>16))
		}
		if got := greatest(data); got != c.want {
			t.Errorf("%v: %v, want %v", c.of, got, c.want)
		}
	}
}

// cutToBF16 is x cut to bfloat16.
func cutToBF16(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ 0xffff) }
