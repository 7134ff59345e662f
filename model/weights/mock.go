package weights

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/spec"
)

// mockConfigs are the config.json of known shapes, by name.
//
//go:embed mock/*.json
var mockConfigs embed.FS

// mockDeviation is the standard deviation of mock weights: what transformers initialises with.
const mockDeviation = 0.02

// mock is a Source of random weights: normal ones for matrices, ones for norms. Drawing a large model would take longer
// than training it for a few steps, so every tensor reads on from a place of its own in one table of values.
type mock struct {
	*spec.Decoder
	shapes map[string][]int
	names  []string
}

// Mock is a model of a known shape with random weights and no tokenizer, for measuring speed.
func Mock(name string) (*Model, error) {
	config, err := mockConfigs.ReadFile("mock/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("no mock model is called %q: the names are %s", name, strings.Join(mockNames(), ", "))
	}
	d, err := spec.Parse(config)
	if err != nil {
		return nil, fmt.Errorf("mock model %s: %w", name, err)
	}
	m := &mock{Decoder: d, shapes: map[string][]int{}}
	for _, t := range d.Tensors() {
		m.names = append(m.names, t.Name)
		m.shapes[t.Name] = t.Shape
	}
	return &Model{Decoder: d, Source: m, Path: "mock:" + name}, nil
}

func mockNames() []string {
	entries, err := mockConfigs.ReadDir("mock")
	if err != nil {
		panic(err) // it is embedded
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".json")
	}
	return names
}

// Names lists the tensors.
func (m *mock) Names() []string { return m.names }

// Info gives bfloat16 and the tensor's shape.
func (m *mock) Info(name string) (dtypes.DType, []int, bool) {
	shape, ok := m.shapes[name]
	return dtypes.BFloat16, shape, ok
}

// Digest names the kind of weights; there is only one draw.
func (m *mock) Digest() string { return "mock" }

// Close has nothing to close.
func (m *mock) Close() error { return nil }

// ReadRows draws rows.
func (m *mock) ReadRows(name string, lo, hi int, as dtypes.DType, dst []byte) error {
	shape, ok := m.shapes[name]
	if !ok {
		return errors.New("mock model: no tensor " + name)
	}
	width, err := span(name, shape, lo, hi, as, dst)
	if err != nil {
		return err
	}
	size := as.Size()
	if strings.HasSuffix(name, "norm.weight") {
		one := make([]byte, size)
		Store(one, as, []float32{1})
		copy(dst, bytes.Repeat(one, len(dst)/size))
		return nil
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash never fails
	table := mockTable()[as]
	at := (int(h.Sum64()%mockValues) + lo*width) % mockValues * size
	for len(dst) > 0 {
		n := copy(dst, table[at:])
		dst, at = dst[n:], 0
	}
	return nil
}

// mockValues is a prime, so that no two rows of a matrix are alike.
const mockValues = 1048573

// mockTable holds the values in every dtype that is given.
var mockTable = sync.OnceValue(func() map[dtypes.DType][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, mockValues)
	for i := range values {
		values[i] = float32(rng.NormFloat64() * mockDeviation)
	}
	tables := map[dtypes.DType][]byte{}
	for _, as := range []dtypes.DType{dtypes.Float32, dtypes.BFloat16} {
		tables[as] = make([]byte, mockValues*as.Size())
		Store(tables[as], as, values)
	}
	return tables
})
