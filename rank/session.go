package rank

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/fsdp"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/infer"
	"gorun/rank/data"
)

// Session is a model on a device: its programs and its parameters.
type Session struct {
	Base   *Base
	dev    *device.Client
	model  *model.Model
	state  *fsdp.State
	world  *world
	apart  func()             // forgets the communicators of programs
	tables map[string]bool    // tensors outside the blocks that the adapter replaces
	bare   [][]*device.Buffer // not nil in a view without the adapter; see Bare

	withoutKernels error // why the device cannot run kernels that the configuration asks for
}

// parameters says what to load into a session.
type parameters struct {
	model.Config
	opt  model.Optimizer
	from *export.Adapter // the adapter's values; nil = fresh
	init string          // how a fresh adapter is drawn
	seed int64

	world   *world
	reshard bool // free gathered weights after the forward pass
	offload bool // keep the frozen base in host memory
}

// OpenSession loads a base, with an adapter unless it is nil, to run forward only.
func OpenSession(d Device, base *Base, dtype string, from *export.Adapter) (*Session, error) {
	p := parameters{Config: model.Config{Decoder: base.Decoder, Compute: computeDType(dtype)}, from: from, world: &world{}}
	if err := settle(&p.Config, d.CUDA, "auto", "auto"); err != nil {
		return nil, err
	}
	if from != nil {
		if err := from.Fits(base.Decoder); err != nil {
			return nil, err
		}
		p.Adapters = adapters(from)
	}
	return open(d, base, p, nil)
}

// computeDType is the dtype of a recipe's model.dtype.
func computeDType(name string) dtypes.DType {
	if name == "f32" {
		return dtypes.Float32
	}
	return dtypes.BFloat16
}

// open makes the client, compiles programs for the given shapes while it loads the parameters, and returns the session.
func open(d Device, base *Base, p parameters, shapes []model.Shape) (s *Session, err error) {
	s = &Session{Base: base, world: p.world, tables: map[string]bool{}}
	if p.from != nil {
		for _, t := range p.from.Tables {
			s.tables[t.Name] = true
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if s.dev, err = d.open(); err != nil {
		return s, err
	}
	if err := p.world.connect(s.dev, d.Plugin); err != nil {
		return s, err
	}
	if p.Split, s.apart, err = p.world.split(s.dev, p.Split); err != nil {
		return s, err
	}
	if p.Float8 {
		if err := s.dev.Float8Refused(); err != nil {
			return s, fmt.Errorf("peft.base_precision: %w: use \"bf16\"", err)
		}
	}
	if p.Kernels {
		if s.withoutKernels = p.KernelsRefused(); s.withoutKernels == nil { // again: the work has been split
			s.withoutKernels = s.dev.KernelsRefused()
		}
		p.Kernels = s.withoutKernels == nil
	}
	if s.model, err = model.New(s.dev, p.Config); err != nil {
		return s, err
	}
	m, maths, compiled := s.model, s.model.Maths(p.opt), make(chan error, 1)
	ranks, err := p.world.ranks(p.reshard, p.offload)
	if err != nil {
		return s, err
	}
	s.state = fsdp.New(s.dev, ranks, maths, groups(s.model))
	trained, rates := s.state.Trained()
	go func() { compiled <- m.Prepare(shapes, maths, trained, rates) }()
	l := loader{dev: s.dev, state: s.state, base: base.Source, from: p.from, init: p.init, seed: p.seed, world: p.world, shard: ranks.Shard}
	defer l.free()
	err = l.load(s.model)
	if err = errors.Join(err, <-compiled); err != nil { // before any collective: on a GPU, XLA measures while it compiles
		return s, err
	}
	if err = l.narrow(s.model); err != nil {
		return s, err
	}
	return s, s.state.Fix()
}

// Close frees the device.
func (s *Session) Close() error {
	if s.bare != nil { // a view: the rest is the session's
		device.FreeAll(s.bare...)
		return nil
	}
	var errs []error
	if s.state != nil {
		s.state.Close()
	}
	if s.model != nil {
		errs = append(errs, s.model.Close())
	}
	if s.apart != nil {
		s.apart()
	}
	errs = append(errs, s.world.disconnect())
	if s.dev != nil {
		errs = append(errs, s.dev.Close())
	}
	return errors.Join(errs...)
}

// Generate continues prompts.
func (s *Session) Generate(ctx context.Context, req infer.Request) ([]infer.Continuation, error) {
	p := s.state.Begin(ctx)
	out, err := infer.Generate(ctx, s.model, s.params(p), req)
	p.Fail(err)
	return out, p.Close()
}

// Score returns the log-probability of each supervised token of a micro-batch, in order of position.
func (s *Session) Score(ctx context.Context, mb data.Batch) ([]float32, error) {
	p := s.state.Begin(ctx)
	r := s.model.Begin(model.Batch{Rows: mb.Rows, Seq: mb.Seq, IDs: mb.IDs, Positions: mb.Positions, Labels: mb.Labels})
	params := s.params(p)
	r.Embed(params.Root())
	for l := 0; l < s.model.Layers(); l++ {
		w := params.Unshard(l)
		p.Prefetch(l + 1)
		r.Infer(l, w)
		p.Reshard(l)
	}
	logp, err := r.Score(params.Root())
	p.Fail(err)
	p.Fail(r.End())
	return logp, p.Close()
}

// Logits returns the logits [V] after each of the tokens at the places at of one text.
func (s *Session) Logits(ctx context.Context, ids, at []int32) ([][]float32, error) {
	p := s.state.Begin(ctx)
	out, err := s.logits(p, ids, at)
	p.Fail(err)
	return out, p.Close()
}

// logits takes the text once for every place: the head is computed for one position of a row.
func (s *Session) logits(p *fsdp.Pass, ids, at []int32) ([][]float32, error) {
	d, err := s.model.NewDecoding(len(at), len(ids))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	positions := make([]int32, len(ids))
	for i := range positions {
		positions[i] = int32(i)
	}
	flat, err := d.Feed(s.params(p), slices.Repeat(ids, len(at)), slices.Repeat(positions, len(at)), at)
	if err != nil {
		return nil, err
	}
	return slices.Collect(slices.Chunk(flat, len(flat)/len(at))), nil
}

// Encode turns a text into ids, or says why not.
func (b *Base) Encode(text string) ([]int32, error) {
	enc, err := b.Tokenizer.Encode(text, false)
	if err != nil {
		return nil, err
	}
	if len(enc.IDs) == 0 {
		return nil, fmt.Errorf("the text %q has no tokens: give some", text)
	}
	return enc.IDs, nil
}
