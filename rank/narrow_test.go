package rank

import (
	"encoding/binary"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"

	"gorun/collective"
	"gorun/csrc/device/devicetest"
	"gorun/fsdp"
	"gorun/model"
	"gorun/model/hlo"
	"gorun/model/weights"
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

// counted is a source of weights that counts the bytes that are read of each tensor.
type counted struct {
	weights.Source
	mu   sync.Mutex
	read map[string]int // protected by mu
}

func (c *counted) ReadRows(name string, lo, hi int, as dtypes.DType, dst []byte) error {
	c.mu.Lock()
	c.read[name] += len(dst)
	c.mu.Unlock()
	return c.Source.ReadRows(name, lo, hi, as, dst)
}

// TestDrafts: of weights that are to be in 8-bit floats each of several ranks reads its own rows, once, and so knows the
// greatest magnitude of those; together they have read every row, and found the greatest of all.
func TestDrafts(t *testing.T) {
	dev := devicetest.Open(t)
	base, err := OpenBase(tinyBaseOf(t, unevenConfig))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
	})
	m, err := model.New(dev, model.Config{Decoder: base.Decoder, Compute: dtypes.BFloat16, Float8: true, OneCopy: true})
	if err != nil {
		t.Fatal(err)
	}
	const ranks = 3
	total, most := map[string]int{}, map[string]float32{}
	for _, comm := range collective.Loopback(t.Context(), "dp_shard", ranks, time.Minute) {
		source := &counted{Source: base.Source, read: map[string]int{}}
		alone := fsdp.Alone
		alone.Shard = comm
		l := loader{dev: dev, base: source, shard: comm, state: fsdp.New(dev, alone, m.Maths(model.Optimizer{}), groups(m))}
		if err := l.load(m); err != nil {
			t.Fatal(err)
		}
		if len(l.drafts) != 4*base.Decoder.Layers {
			t.Errorf("%d drafts", len(l.drafts))
		}
		for _, d := range l.drafts {
			read, bytes := 0, 2*d.param.Shape.Size()
			for _, p := range d.param.Parts {
				read += source.read[p.Tensor]
			}
			if row := bytes / d.param.Shape.Dims[0]; read > bytes/ranks+row {
				t.Errorf("rank %d reads %d of %d bytes of %s", comm.Rank(), read, bytes, d.param.Name)
			}
			total[d.param.Name] += read
			most[d.param.Name] = max(most[d.param.Name], d.most)
		}
		l.free()
		l.state.Close()
	}
	for _, g := range m.Groups() {
		for _, p := range g.Params {
			if p.Role != model.Base || p.Shape.DType != hlo.E4M3 {
				continue
			}
			p.Shape.DType = dtypes.BFloat16
			data := make([]byte, p.Shape.Bytes())
			if err := (&loader{base: base.Source}).fill(p)(0, p.Shape.Dims[0], data); err != nil {
				t.Fatal(err)
			}
			if total[p.Name] != len(data) || most[p.Name] != greatest(data) || most[p.Name] == 0 {
				t.Errorf("%s: %d bytes are read, the greatest found is %v; there are %d, and the greatest is %v", p.Name, total[p.Name], most[p.Name], len(data), greatest(data))
			}
		}
	}
}
