package ckpt

import (
	"fmt"
	"testing"

	"gorun/model/export"
)

// BenchmarkSaveLoad is one save and one load of a LoRA state of 4.9 million parameters: 59 MB with its
// moments, as for SmolLM2-135M with Dim 16 on all projections.
func BenchmarkSaveLoad(b *testing.B) {
	const dim, size, modules = 16, 768, 200
	s := loraState(1)
	s.Adapter.Dim, s.Adapter.Modules, s.Params, s.Moment1, s.Moment2 = dim, nil, nil, nil, nil
	for i := range modules {
		name := fmt.Sprintf("model.layers.%d.mlp.up_proj", i)
		s.Adapter.Modules = append(s.Adapter.Modules, export.Module{Name: name, Dim: dim, In: size, Out: size})
		a, m := filled(export.AName(name), 1, dim, size), filled(export.BName(name), 2, size, dim)
		s.Params, s.Moment1, s.Moment2 = append(s.Params, a, m), append(s.Moment1, a, m), append(s.Moment2, a, m)
	}
	d, err := Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"save", func() error { _, err := d.Save(b.Context(), s, SaveOptions{}); return err }},
		{"load", func() error { _, err := Load(d.Path() + "/" + latestLink); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(s.bytes())
			for b.Loop() {
				if err := c.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	if err := d.Close(); err != nil {
		b.Error(err)
	}
}
