package model

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/gomlx/compute/dtypes"
	"golang.org/x/sync/errgroup"

	"gorun/csrc/device"
)

// Model is a decoder's layout and its compiled programs on one device. It holds no weights.
type Model struct {
	dev    *device.Client
	cfg    Config
	blocks []block
	kinds  []int // per layer: the first layer with the same kind of block, whose programs it shares
	root   root

	mu       sync.Mutex
	programs map[string]func() (*device.Program, error)
	tables   map[table][2]*device.Buffer // cosine and sine [S,Rot/2]
	layerIDs []*device.Buffer            // per layer: its number as uint32, for dropout
}

// New lays the decoder out; programs are compiled when first needed, or ahead by Prepare.
func New(dev *device.Client, cfg Config) (*Model, error) {
	if cfg.Compute != dtypes.Float32 && cfg.Compute != dtypes.BFloat16 {
		return nil, fmt.Errorf("model: compute dtype %s: use float32 or bfloat16", cfg.Compute)
	}
	if cfg.Full && len(cfg.Adapters) > 0 {
		return nil, errors.New("model: full fine-tuning and adapters exclude each other")
	}
	for name, a := range cfg.Adapters {
		if a.DoRA && cfg.Dropout > 0 {
			return nil, fmt.Errorf("model: %s: DoRA with dropout %v: the base's product would need an input of its own; use dropout 0", name, cfg.Dropout)
		}
	}
	if cfg.Head && cfg.Decoder.TiedHead {
		return nil, errors.New("model: the head is the embedding: train that")
	}
	if cfg.Float8 {
		if err := cfg.Float8Refused(); err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
	}
	if err := cfg.Split.Check(cfg.Decoder); err != nil {
		return nil, err
	}
	m := &Model{dev: dev, cfg: cfg, root: newRoot(cfg), programs: map[string]func() (*device.Program, error){}, tables: map[table][2]*device.Buffer{}}
	first := map[string]int{}
	found := 0
	for n := range cfg.Decoder.Layers {
		b, err := newBlock(cfg, n)
		if err != nil {
			return nil, err
		}
		kind := b.kind()
		if _, ok := first[kind]; !ok {
			first[kind] = n
		}
		m.blocks = append(m.blocks, b)
		m.kinds = append(m.kinds, first[kind])
		for _, p := range b.group.Params {
			if p.Role == LoraA {
				found += len(p.Parts)
			}
		}
	}
	if found != len(cfg.Adapters) {
		return nil, fmt.Errorf("model: %d of %d adapters are for linears outside the decoder blocks: only those of blocks can be adapted", len(cfg.Adapters)-found, len(cfg.Adapters))
	}
	return m, nil
}

// Config is what the model was made with.
func (m *Model) Config() Config { return m.cfg }

// Layers is the number of blocks.
func (m *Model) Layers() int { return len(m.blocks) }

// Groups lists the parameters: one group per block, in order, and the root group last.
func (m *Model) Groups() []Group {
	out := make([]Group, 0, len(m.blocks)+1)
	for _, b := range m.blocks {
		out = append(out, b.group)
	}
	return append(out, m.root.group)
}

// Close frees programs and tables.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, get := range m.programs {
		if p, err := get(); err == nil {
			errs = append(errs, p.Close())
		}
	}
	for _, t := range m.tables {
		device.FreeAll(t[:])
	}
	device.FreeAll(m.layerIDs)
	m.programs, m.tables, m.layerIDs = nil, nil, nil
	return errors.Join(errs...)
}

// program returns the program of that key, building and compiling it once; others who want it meanwhile wait.
func (m *Model) program(key string, build func() (device.Source, error)) (*device.Program, error) {
	m.mu.Lock()
	get, ok := m.programs[key]
	if !ok {
		get = sync.OnceValues(func() (*device.Program, error) {
			src, err := build()
			if err != nil {
				return nil, err
			}
			return m.dev.Compile(src)
		})
		m.programs[key] = get
	}
	m.mu.Unlock()
	return get()
}

func (m *Model) forward(layer int, s Shape, dropout bool, remat Remat) (*device.Program, error) {
	s = s.block()
	kind, cfg := m.kinds[layer], m.cfg
	cfg.Remat = remat
	return m.program(fmt.Sprint("forward ", kind, s, dropout, remat), func() (device.Source, error) {
		return m.blocks[kind].buildForward(cfg, s, dropout)
	})
}

func (m *Model) backward(layer int, s Shape, dropout bool) (*device.Program, error) {
	s = s.block()
	kind := m.kinds[layer]
	return m.program(fmt.Sprint("backward ", kind, s, dropout), func() (device.Source, error) {
		src, err := m.blocks[kind].buildForward(m.cfg, s, dropout) // for the shapes of what it saves
		if err != nil {
			return src, err
		}
		return m.blocks[kind].buildBackward(m.cfg, s, dropout, src.Outputs[1:])
	})
}

func (m *Model) embed(cfg Config, s Shape, positions int) (*device.Program, error) {
	s = s.stream()
	return m.program(fmt.Sprint("embed ", s, positions, cfg.Split), func() (device.Source, error) { return m.root.buildEmbed(cfg, s, positions) })
}

func (m *Model) embedBackward(s Shape) (*device.Program, error) {
	s = s.stream()
	return m.program(fmt.Sprint("embed backward ", s), func() (device.Source, error) { return m.root.buildEmbedBackward(m.cfg, s) })
}

func (m *Model) loss(s Shape) (*device.Program, error) {
	s = s.head()
	return m.program(fmt.Sprint("loss ", s), func() (device.Source, error) { return m.root.buildLoss(m.cfg, s) })
}

func (m *Model) score(cfg Config, s Shape) (*device.Program, error) {
	s = s.head()
	return m.program(fmt.Sprint("score ", s, cfg.Split, cfg.Kernels), func() (device.Source, error) { return m.root.buildScore(cfg, s) })
}

// Prepare compiles, in parallel, the training programs of the given shapes, and, if there are any, the optimizer's for
// lists of trained parameters of the shapes trained, none empty, with rates as Maths.Update takes them.
func (m *Model) Prepare(shapes []Shape, maths *Maths, trained [][]device.Shape, rates [][]float64) error {
	var g errgroup.Group
	g.SetLimit(max(4, runtime.GOMAXPROCS(0)))
	want := func(_ *device.Program, err error) error { return err }
	for _, s := range shapes {
		for n, kind := range m.kinds {
			if n != kind {
				continue
			}
			g.Go(func() error { return want(m.backward(n, s, m.cfg.Dropout > 0)) })
			g.Go(func() error { return want(m.forward(n, s, m.cfg.Dropout > 0, m.cfg.Remat)) })
		}
		g.Go(func() error { return want(m.loss(s)) })
		g.Go(func() error { return want(m.embed(m.cfg, s, s.Seq)) })
		if m.root.trains(m.root.embed) {
			g.Go(func() error { return want(m.embedBackward(s)) })
		}
	}
	if len(shapes) > 0 {
		maths.prepare(&g, trained, rates)
	}
	return g.Wait()
}

// table names rotary tables: how many positions, the length that their frequencies are for, and whose they are.
type table struct {
	seq, length int
	local       bool // of Decoder.LocalRope
}

// rotary returns the cosine and sine tables of positions 0..seq-1, each [seq, Rot/2] float32, for sequences of length
// tokens; local are those of Decoder.LocalRope.
func (m *Model) rotary(seq, length int, local bool) (cos, sin *device.Buffer, err error) {
	rope := m.cfg.Decoder.Rope
	if local {
		rope = *m.cfg.Decoder.LocalRope
	}
	key := table{seq, ropeLength(rope, length), local}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.tables[key]; ok {
		return t[0], t[1], nil
	}
	c, s := RotaryTable(rope, seq, key.length)
	half := rope.Dim / 2
	if cos, err = device.FromSlice(m.dev, dtypes.Float32, c, seq, half); err != nil {
		return nil, nil, err
	}
	if sin, err = device.FromSlice(m.dev, dtypes.Float32, s, seq, half); err != nil {
		cos.Free()
		return nil, nil, err
	}
	m.tables[key] = [2]*device.Buffer{cos, sin}
	return cos, sin, nil
}

// layerID returns a layer's number as a device scalar.
func (m *Model) layerID(layer int) (*device.Buffer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := len(m.layerIDs); n <= layer; n++ {
		b, err := device.FromSlice(m.dev, dtypes.Uint32, []uint32{uint32(n)})
		if err != nil {
			return nil, err
		}
		m.layerIDs = append(m.layerIDs, b)
	}
	return m.layerIDs[layer], nil
}
