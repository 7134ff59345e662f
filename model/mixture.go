package model

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
	"gorun/model/spec"
)

// mixture is the layout of a block's experts. Those of all experts that are alike are one parameter, expert after expert.
type mixture struct {
	experts, top  int // E; experts that each token goes through
	hidden, width int // D; F, of one expert
	normalize     bool
	router        int              // [E, D]
	gateUp        int              // [E*2F, D], of each expert gate above up
	down          int              // [E*D, F]
	adapters      [3]expertAdapter // of gate, up and down
}

// expertAdapter is the adapters of one linear of all experts.
type expertAdapter struct {
	a, b    int // indexes of the parameters [E*Dim, in] and [E*out, Dim]; -1 = none
	in, out int
	Adapter
}

// newMixture adds the base parameters of layer n's experts.
func (l *layout) newMixture(n int) *mixture {
	d := l.cfg.Decoder
	m := &mixture{
		experts: d.Mixture.Experts, top: d.Mixture.PerToken, hidden: d.Hidden, width: d.Mixture.Width, normalize: d.Mixture.Normalize,
	}
	weight := func(x spec.Linear) Part { return whole(x.Name+".weight", x.Out, x.In) }
	m.router = l.base(Param{}, []int{m.experts, m.hidden}, weight(d.Router(n)))
	var gateUp, down []Part
	for i := range m.experts {
		x := d.Expert(n, i)
		gateUp, down = append(gateUp, weight(x[0]), weight(x[1])), append(down, weight(x[2]))
	}
	m.gateUp = l.base(Param{}, []int{m.experts * 2 * m.width, m.hidden}, gateUp...)
	m.down = l.base(Param{}, []int{m.experts * m.hidden, m.width}, down...)
	return m
}

// adaptExperts adds the adapters of layer n's experts.
func (l *layout) adaptExperts(m *mixture, n int) error {
	d := l.cfg.Decoder
	for i := range m.adapters {
		first := d.Expert(n, 0)[i]
		adapter, ok := l.cfg.Adapters[first.Name]
		to := expertAdapter{a: -1, b: -1, in: first.In, out: first.Out, Adapter: adapter}
		var as, bs []Part
		for x := range m.experts {
			name := d.Expert(n, x)[i].Name
			if other, also := l.cfg.Adapters[name]; other != adapter || also != ok {
				return fmt.Errorf("model: the adapters of %s and %s differ: experts of a layer have the same, or none", first.Name, name)
			}
			as = append(as, whole(name+suffixA, adapter.Dim, to.in))
			bs = append(bs, whole(name+suffixB, to.out, adapter.Dim))
		}
		if ok {
			if adapter.DoRA || l.cfg.Dropout > 0 {
				return fmt.Errorf("model: %s: adapters of experts have neither DoRA nor dropout: PEFT has no such ones", first.Name)
			}
			to.a = l.add(Param{Role: LoraA, Trainable: true}, dtypes.Float32, []int{m.experts * adapter.Dim, to.in}, as...)
			to.b = l.add(Param{Role: LoraB, Trainable: true, Rate: l.cfg.RateB}, dtypes.Float32, []int{m.experts * to.out, adapter.Dim}, bs...)
		}
		m.adapters[i] = to
	}
	return nil
}

// expert is the weights of one expert, in the compute dtype.
type expert struct {
	gateUp, down hlo.Value  // [2F,D], [D,F]
	low          [3]lowRank // of gate, up and down
}

// lowRank is an adapter of one linear of one expert; without, a is invalid.
type lowRank struct {
	a, b  hlo.Value // [Dim,in], [out,Dim]
	scale float64
}

// expert takes the weights of the expert of a number that is known at run time.
func (m mixture) expert(e *emit, number hlo.Value) expert {
	take := func(param, rows int) hlo.Value {
		return e.c(e.DynamicSlice(e.w[param], 0, e.Mul(number, e.int(rows)), rows))
	}
	x := expert{gateUp: take(m.gateUp, 2*m.width), down: take(m.down, m.hidden)}
	for i, l := range m.adapters {
		if l.a >= 0 {
			x.low[i] = lowRank{take(l.a, l.Dim), take(l.b, l.out), l.Scale}
		}
	}
	return x
}
