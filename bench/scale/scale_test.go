package main

import (
	"math"
	"strings"
	"testing"

	"gorun/model/spec"
	"gorun/model/weights"
)

func decoder(t *testing.T, name string) *spec.Decoder {
	t.Helper()
	m, err := weights.Mock(name)
	if err != nil {
		t.Fatal(err)
	}
	return m.Decoder
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*math.Abs(want)) {
		t.Errorf("%s: %.6g, want %.6g", what, got, want)
	}
}

// TestRing: rings within a machine, over whole machines, and of one GPU of each machine.
func TestRing(t *testing.T) {
	c := cluster{node: 8, link: 400e9, port: 50e9, share: 0.5, near: 1e-6, far: 10e-6}
	for _, x := range []struct {
		what string
		group
		want float64
	}{
		{"one", group{1, 1}, 0},
		{"a machine", group{8, 8}, 7.0/8*1e9/200e9 + 7e-6},
		{"two machines", group{16, 8}, 15.0/16*1e9/200e9 + 13e-6 + 20e-6},
		{"one GPU of each of 4", group{4, 1}, 3.0/4*1e9/25e9 + 30e-6},
	} {
		near(t, x.what, c.ring(x.group, 1e9), x.want, 1e-12)
		near(t, x.what+", all-reduce", c.allReduce(x.group, 1e9), 2*x.want, 1e-12)
	}
}

// TestMeasured: on one GPU and on two the step is what was measured, within a per cent.
func TestMeasured(t *testing.T) {
	d, w := decoder(t, "llama3-8b"), work{2, 4096, 16, false}
	one := h200.simulate(d, layout{"", 1, 1, 1}, w)
	near(t, "one GPU", one.step, 0.493, 0.01)
	if one.exposed > 1e-9 || one.taken > 0 {
		t.Errorf("%g s of communication on one GPU, and %g s taken", one.exposed, one.taken)
	}
	near(t, "weights", one.weights, 2*8030261248, 1e-9)
	near(t, "FSDP on two", h200.simulate(d, layout{"", 2, 1, 1}, w).step, 0.515, 0.01)
	near(t, "replicas on two", h200.simulate(d, layout{"", 1, 2, 1}, w).step, 0.493+0.008, 0.01)
	apart := h200 // no copy engine reaches the other GPU, but its links are as fast
	apart.node, apart.port, apart.far = 1, apart.link, apart.near
	near(t, "FSDP on two by NCCL", apart.simulate(d, layout{"", 2, 1, 1}, w).step, 0.527, 0.01)
}

// TestSchedule: where links are much faster than products, only what nothing can hide is exposed; where they are much
// slower, the step is all gathers, one after the other.
func TestSchedule(t *testing.T) {
	d, l, w := decoder(t, "llama3-8b"), layout{"", 64, 1, 1}, work{1, 512, 16, false}
	slow := h200
	slow.compute, slow.back, slow.head = 1e11, 1e11, 1e11
	k := slow.cost(d, l, w)
	near(t, "exposed", slow.simulate(d, l, w).exposed, k.gather+k.adapters+k.reduce+k.totals, 1e-9)

	fast := h200
	fast.compute, fast.back, fast.head, fast.meet, fast.takes = 1e20, 1e20, 1e20, 0, 0
	k = fast.cost(d, l, w)
	layers := float64(d.Layers)
	near(t, "step", fast.simulate(d, l, w).step, (2*layers-1)*k.gather+layers*(k.adapters+k.reduce)+k.totals, 1e-6)
}

// TestTensor: eight parts take an eighth of the products each, and four all-reduces a block, as many as two each way.
func TestTensor(t *testing.T) {
	d, w := decoder(t, "llama3-70b"), work{2, 4096, 16, false}
	one, eight := h200.cost(d, layout{"", 1, 1, 1}, w), h200.cost(d, layout{"", 1, 1, 8}, w)
	stream := h200.allReduce(group{8, 8}, 2*8192*8192)
	near(t, "forward", eight.forward, one.forward/8+2*stream, 1e-9)
	near(t, "backward", eight.backward, one.backward/8+2*stream, 1e-9)
	near(t, "inside", eight.inside, 80*4*stream+2*stream, 1e-9)
}

// TestTable: every plan has a line.
func TestTable(t *testing.T) {
	var out strings.Builder
	if err := table(&out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 2+len(plans()) || len(plans()) != 20 {
		t.Errorf("%d lines for %d plans", n, len(plans()))
	}
}
