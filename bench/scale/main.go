// Command scale computes on paper what a step takes on clusters that are not there: the trainer's schedule, simulated on
// stated rates of links and products, and a table in Markdown of it.
//
//	go run ./bench/scale
package main

import (
	"fmt"
	"io"
	"os"

	"gorun/model/weights"
)

// h200 is what is assumed. Links are half of the 900 GB/s that NVLink has both ways; a port is 400 Gb/s. Collectives get
// four fifths of either, as nccl-tests shows for large messages. Products run as fast as measured on one H100, and lose by
// communication beside them as much as on two (bench/results/2026-11-25-h100x2-engines.md: 8B, 493 ms a step, divided as its
// programs alone were; 515 ms with FSDP by copy engines, 527 by NCCL, 8 ms more than one GPU's with replicas).
var h200 = cluster{
	node: 8, link: 450e9, port: 50e9, share: 0.8, near: 3e-6, far: 10e-6,
	compute: 598e12, back: 503e12, head: 694e12,
	own: 1.4e12, meet: 0.2e-3, takes: 0.25,
}

// plan is one line of the table.
type plan struct {
	model string // a mock one
	layout
	work
}

// plans are the lines.
func plans() (out []plan) {
	small, large := work{2, 4096, 16, false}, work{2, 4096, 16, true}
	for _, n := range []int{8, 16, 64, 512} {
		out = append(out,
			plan{"llama3-8b", layout{"FSDP over all", n, 1, 1}, small},
			plan{"llama3-8b", layout{"HSDP, sharded in machines", 8, n / 8, 1}, small})
	}
	for _, n := range []int{8, 16, 64, 512} {
		out = append(out,
			plan{"llama3-70b", layout{"FSDP over all", n, 1, 1}, large},
			plan{"llama3-70b", layout{"HSDP, sharded in machines", 8, n / 8, 1}, large},
			plan{"llama3-70b", layout{"tp 8 in machines, FSDP across", n / 8, 1, 8}, large})
	}
	return out
}

func main() {
	if err := table(os.Stdout); err != nil {
		panic(err) // the plans name models that are there
	}
}

// table writes what every plan comes to.
func table(w io.Writer) error {
	fmt.Fprintln(w, "| model | GPUs | layout | step (ms) | exposed communication (ms) | taken from products (ms) | computing | tok/s per GPU | weights per GPU (GiB) |\n|---|---|---|---|---|---|---|---|---|")
	for _, p := range plans() {
		m, err := weights.Mock(p.model)
		if err != nil {
			return err
		}
		o := h200.simulate(m.Decoder, p.layout, p.work)
		tokens := p.tokens() * float64(p.shard*p.replicate)
		fmt.Fprintf(w, "| %s | %d | %s | %.0f | %.1f | %.1f | %.1f %% | %.0f | %.1f |\n", p.model, p.ranks(), p.name, 1e3*o.step, 1e3*o.exposed, 1e3*o.taken, 100*(1-(o.exposed+o.taken)/o.step),
			tokens/o.step/float64(p.ranks()), o.weights/(1<<30))
	}
	return nil
}
