package weights

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
)

// TestMock reads a mock model whole and by rows, and holds its values to their distribution.
func TestMock(t *testing.T) {
	m, err := Mock("smollm2-135m")
	if err != nil {
		t.Fatal(err)
	}
	if n := m.Decoder.Params().Total; n != 134515008 {
		t.Errorf("%d parameters, SmolLM2-135M has 134515008", n)
	}
	const name, rows, width = "model.layers.3.mlp.down_proj.weight", 576, 1536
	all := make([]byte, 4*rows*width)
	if err := m.ReadRows(name, 0, rows, dtypes.Float32, all); err != nil {
		t.Fatal(err)
	}
	some := make([]byte, 4*2*width)
	if err := m.ReadRows(name, 500, 502, dtypes.Float32, some); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(some, all[4*500*width:4*502*width]) {
		t.Error("rows 500 and 501 read alone differ from the whole tensor's")
	}
	if bytes.Equal(some[:4*width], some[4*width:]) {
		t.Error("two rows are alike")
	}
	squares := 0.0
	for i := 0; i < len(all); i += 4 {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(all[i:])))
		squares += v * v
	}
	if dev := math.Sqrt(squares / (rows * width)); math.Abs(dev-0.02) > 0.0005 {
		t.Errorf("the standard deviation is %g, want 0.02", dev)
	}
	norm := make([]byte, 2*3)
	if err := m.ReadRows("model.norm.weight", 4, 7, dtypes.BFloat16, norm); err != nil {
		t.Fatal(err)
	}
	if want := []byte{0x80, 0x3f, 0x80, 0x3f, 0x80, 0x3f}; !bytes.Equal(norm, want) {
		t.Errorf("norm weights are %x, want ones: %x", norm, want)
	}
	if err := m.ReadRows("model.nothing", 0, 1, dtypes.Float32, nil); err == nil {
		t.Error("read a tensor that is not there")
	}
	if _, err := Mock("gpt-5"); err == nil || !strings.Contains(err.Error(), "llama3-8b") {
		t.Errorf("got %v, want the names there are", err)
	}
	for _, name := range []string{"llama3-8b", "llama3.2-1b", "qwen2.5-7b"} {
		if _, err := Mock(name); err != nil {
			t.Error(err)
		}
	}
}
