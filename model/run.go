package model

import (
	"errors"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
)

// Run takes one micro-batch through the model. It owns every activation; the caller passes parameters in and takes
// gradients out. After the first error its methods do nothing and return nil, as they do without parameters (the caller's
// own error), but for Score, which fails; End returns that error and frees all.
type Run struct {
	m     *Model
	shape Shape
	valid int
	span  int // what rotary frequencies go by
	err   error

	ids, positions             *device.Buffer
	turns                      []*device.Buffer // cosines and sines of the tokens; and those of layers with a window, if theirs are others
	rows, labels, starts, keys *device.Buffer
	documents                  []*device.Buffer   // their lengths, and where they start, where cuDNN is told of them
	x                          []*device.Buffer   // input of each block, and the last block's output
	saved                      [][]*device.Buffer // what each block's forward saved
	dx                         *device.Buffer

	counted       *device.Buffer // for the auxiliary loss (balance.go), as all that follows
	loads         []*device.Buffer
	push          *device.Buffer
	balanceFactor float64
}

// Begin uploads a micro-batch.
func (m *Model) Begin(b Batch) *Run {
	r := &Run{m: m, saved: make([][]*device.Buffer, len(m.blocks))}
	if r.err = b.valid(); r.err != nil {
		return r
	}
	all := b
	b, seq := m.cfg.Split.cut(all)
	rows, labels, valid := b.supervised()
	var starts, lengths []int32
	r.shape, starts, lengths = m.cfg.shape(all, b, seq, len(rows))
	r.valid, r.span = valid, all.span()
	r.ids = r.upload(b.IDs, b.Rows, b.Seq)
	r.positions = r.upload(b.Positions, b.Rows, b.Seq)
	r.rows = r.upload(rows, len(rows))
	r.labels = r.upload(labels, len(rows))
	if b.Starts != nil {
		r.starts = r.upload(b.Starts, b.Rows, b.Seq)
	}
	if n := r.shape.Documents; n > 0 {
		rows, _ := r.shape.anew()
		r.documents = []*device.Buffer{r.upload(lengths, rows, n/rows), r.upload(starts, rows, n/rows+1)}
	}
	if b.Keys != nil && m.cfg.Dropout > 0 && r.err == nil {
		r.keys, r.err = device.FromSlice(m.dev, dtypes.Uint32, b.Keys, b.keyDims()...)
	}
	r.balance(b)
	return r
}

func (r *Run) upload(v []int32, dims ...int) *device.Buffer {
	if r.err != nil {
		return nil
	}
	b, err := device.FromSlice(r.m.dev, dtypes.Int32, v, dims...)
	r.err = err
	return b
}

// Valid is the number of supervised positions that are here.
func (r *Run) Valid() int { return r.valid }

// execute compiles if need be and queues a program.
func (r *Run) execute(p *device.Program, err error, args ...*device.Buffer) []*device.Buffer {
	if r.err != nil {
		return nil
	}
	var out []*device.Buffer
	if err == nil {
		out, err = p.Execute(args...)
	}
	r.err = err
	return out
}

// Embed looks up the tokens; root are the root group's parameters.
func (r *Run) Embed(root []*device.Buffer) { r.embedAt(r.m.cfg, root, r.shape.Seq, r.span) }

// embedAt is Embed with positions below the given number, for documents of length tokens.
func (r *Run) embedAt(cfg Config, root []*device.Buffer, positions, length int) {
	if r.err != nil || root == nil {
		return
	}
	args := []*device.Buffer{root[r.m.root.embed], r.ids, r.positions}
	for _, local := range []bool{false, true}[:r.m.ropes()] {
		cos, sin, err := r.m.rotary(positions, length, local)
		if err != nil {
			r.err = err
			return
		}
		args = append(args, cos, sin)
	}
	p, err := r.m.embed(cfg, r.shape, positions)
	if out := r.execute(p, err, args...); r.err == nil {
		r.x, r.turns = out[:1:1], out[1:]
	}
}

// ropes is how many rotary embeddings the layers have.
func (m *Model) ropes() int {
	if m.cfg.Decoder.LocalRope != nil {
		return 2
	}
	return 1
}

// turnsOf are a layer's cosines and sines.
func (r *Run) turnsOf(layer int) []*device.Buffer {
	if len(r.turns) > 2 && r.m.blocks[layer].window > 0 {
		return r.turns[2:]
	}
	return r.turns[:2]
}

// context appends to a block's parameters w, of which it picks those of a direction, what its programs also take.
func (r *Run) context(layer int, d Direction, w []*device.Buffer, more ...*device.Buffer) []*device.Buffer {
	args := append(r.m.blocks[layer].group.read(d, w), r.turnsOf(layer)...)
	if r.starts != nil {
		args = append(args, r.starts)
	}
	args = append(args, r.documents...)
	if r.keys != nil {
		id, err := r.m.layerID(layer)
		if err != nil && r.err == nil {
			r.err = err
		}
		args = append(args, r.keys, id)
	}
	if r.counted != nil && r.m.blocks[layer].mixture != nil {
		args = append(args, r.counted)
	}
	return append(args, more...)
}

// Forward runs block number layer with parameters w and keeps what its backward pass needs.
func (r *Run) Forward(layer int, w []*device.Buffer) {
	if r.err != nil || w == nil {
		return
	}
	p, err := r.m.forward(layer, r.shape, r.keys != nil, r.m.cfg.Remat)
	if out := r.execute(p, err, r.context(layer, Forward, w, r.x[layer])...); r.err == nil {
		if r.m.blocks[layer].balanced(r.m.cfg) {
			last := len(out) - 1
			r.loads, out = append(r.loads, out[last]), out[:last]
		}
		r.x, r.saved[layer] = append(r.x, out[0]), out[1:]
	}
}

// Infer runs block number layer and keeps nothing for a backward pass.
func (r *Run) Infer(layer int, w []*device.Buffer) {
	if r.err != nil || w == nil {
		return
	}
	p, err := r.m.forward(layer, r.shape, r.keys != nil, RematFull)
	if out := r.execute(p, err, r.context(layer, Forward, w, r.x[layer])...); r.err == nil {
		r.x[layer].Free()
		device.FreeAll(out[1:])
		r.x = append(r.x, out[0])
	}
}

// Loss returns the sum of the losses (float32 scalar, the caller's to free) and starts the backward pass of the head:
// grads are what it gives of the root group's trained parameters, by index; root are the root group's parameters.
func (r *Run) Loss(root []*device.Buffer) (loss *device.Buffer, grads map[int]*device.Buffer) {
	if r.err != nil || root == nil {
		return nil, nil
	}
	rt := r.m.root
	p, err := r.m.loss(r.shape)
	var args []*device.Buffer
	for _, i := range rt.lossParams() {
		args = append(args, root[i])
	}
	out := r.execute(p, err, append(args, r.x[len(r.x)-1], r.rows, r.labels)...)
	if r.err != nil {
		return nil, nil
	}
	r.dx = out[0]
	loss, out = r.balancedLoss(out[1]), out[2:]
	grads = map[int]*device.Buffer{}
	for _, i := range []int{rt.norm, rt.head} {
		if rt.trains(i) {
			grads[i], out = out[0], out[1:]
		}
	}
	return loss, grads
}

// errNoParams is what a run ends with that was given no parameters and has to return what they give.
var errNoParams = errors.New("model: no parameters were given: whoever holds them has failed, or was told to stop")

// fails tells whether the run has failed, as it does without the root group's parameters.
func (r *Run) fails(root []*device.Buffer) bool {
	if r.err == nil && root == nil {
		r.err = errNoParams
	}
	return r.err != nil
}

// Score returns the log-probability of each supervised position's label, in the order of positions.
func (r *Run) Score(root []*device.Buffer) ([]float32, error) { return r.score(r.m.cfg, root) }

func (r *Run) score(cfg Config, root []*device.Buffer) ([]float32, error) {
	if r.fails(root) {
		return nil, r.err
	}
	p, err := r.m.score(cfg, r.shape)
	out := r.execute(p, err, root[r.m.root.norm], root[r.m.root.head], r.x[len(r.x)-1], r.rows, r.labels)
	if r.err != nil {
		return nil, r.err
	}
	defer out[0].Free()
	all, err := device.ToSlice[float32](out[0])
	if err != nil {
		return nil, err
	}
	return all[:r.valid], nil
}

// Backward runs the backward pass of block number layer and returns the gradients of its trained parameters (sums over
// tokens, float32, in the order of Group.Trainable), which are the caller's to free.
func (r *Run) Backward(layer int, w []*device.Buffer) []*device.Buffer {
	if r.err != nil || w == nil {
		return nil
	}
	p, err := r.m.backward(layer, r.shape, r.keys != nil)
	args := append([]*device.Buffer{r.x[layer]}, r.saved[layer]...)
	if r.m.blocks[layer].balanced(r.m.cfg) {
		args = append(args, r.push)
	}
	out := r.execute(p, err, r.context(layer, Backward, w, append(args, r.dx)...)...)
	if r.err != nil {
		return nil
	}
	device.FreeAll(r.saved[layer], r.x[layer:layer+1], []*device.Buffer{r.dx})
	r.saved[layer] = nil
	r.dx = out[0]
	return out[1:]
}

// EmbedBackward returns the gradients of the root group's trained parameters in the order of Group.Trainable; grads is
// what Loss returned.
func (r *Run) EmbedBackward(grads map[int]*device.Buffer) []*device.Buffer {
	if r.err != nil {
		return nil
	}
	rt := r.m.root
	if rt.trains(rt.embed) {
		args := []*device.Buffer{r.dx, r.ids}
		if rt.head == rt.embed {
			args = append(args, grads[rt.head])
		}
		p, err := r.m.embedBackward(r.shape)
		out := r.execute(p, err, args...)
		if r.err != nil {
			return nil
		}
		grads[rt.embed] = out[0]
	}
	var list []*device.Buffer
	for _, i := range rt.group.trainable() {
		list = append(list, grads[i])
	}
	return list
}

// End frees what the run holds and returns its first error.
func (r *Run) End() error {
	device.FreeAll(r.x, r.turns, r.documents, []*device.Buffer{r.ids, r.positions, r.rows, r.labels, r.starts, r.keys, r.dx, r.counted, r.push})
	device.FreeAll(r.saved...)
	device.FreeAll(r.loads)
	return r.err
}
