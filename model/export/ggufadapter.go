package export

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gorun/model/gguf"
	"gorun/model/spec"
	"gorun/model/weights"
)

// Names in a GGUF adapter (llama.cpp, src/llama-adapter.cpp): a tensor's own name with the matrix after it.
const (
	ggufSuffixA = ".lora_a" // [Dim, In]
	ggufSuffixB = ".lora_b" // [Out, Dim]
	ggufAlpha   = "adapter.lora.alpha"
)

// WriteGGUFAdapter writes an adapter as a GGUF file for the decoder, as llama.cpp's convert_lora_to_gguf does: matrices
// stored as the type, the rows of B of q and k in llama.cpp's order. llama.cpp scales every module by one alpha over the
// module's own Dim; where the adapter's scalings are not of that form (rank-stabilised, or an alpha per module) B takes
// the difference.
func WriteGGUFAdapter(path string, d *spec.Decoder, a *Adapter, as gguf.Type) error {
	if err := writeGGUFAdapter(path, d, a, as); err != nil {
		return fmt.Errorf("write GGUF adapter: %w", err)
	}
	return nil
}

// GGUFAdapterRefused says why the adapter, of which it reads no values, cannot be a GGUF file for the decoder; nil if it can.
func (a *Adapter) GGUFAdapterRefused(d *spec.Decoder) error {
	_, _, err := d.ToGGUF()
	return errors.Join(append(a.loraOnly("a GGUF adapter holds"), err)...)
}

func writeGGUFAdapter(path string, d *spec.Decoder, a *Adapter, as gguf.Type) error {
	if err := errors.Join(append(a.loraOnly("a GGUF adapter holds"), a.Validate(), a.Fits(d))...); err != nil {
		return err
	}
	if _, ok := fileTypes[as]; !ok {
		return fmt.Errorf("no GGUF file of type %s can be written: use F32, F16, BF16 or Q8_0", as)
	}
	fields, _, err := d.ToGGUF()
	if err != nil {
		return err
	}
	arch, _ := fields[0].Value.(string)
	alpha := ggufAlphaOf(a)
	var streams []gguf.Stream
	for i := range a.Modules {
		m := &a.Modules[i]
		dim := a.DimOf(m)
		own := weights.GGUFName(m.Name + ".weight")
		paired := weights.GGUFPairsRows(arch, m.Name+".weight")
		factor := float32(a.Scaling(m) * float64(dim) / alpha)
		streams = append(streams,
			gguf.Stream{TensorInfo: gguf.TensorInfo{Name: own + ggufSuffixA, Type: typeOf(own, []int{dim, m.In}, as), Shape: []int{dim, m.In}}, Fill: func(lo, hi int, dst []float32) error {
				copy(dst, m.A[lo*m.In:hi*m.In])
				return nil
			}},
			gguf.Stream{TensorInfo: gguf.TensorInfo{Name: own + ggufSuffixB, Type: typeOf(own, []int{m.Out, dim}, as), Shape: []int{m.Out, dim}}, Fill: func(lo, hi int, dst []float32) error {
				for row := lo; row < hi; row++ {
					from := row
					if paired {
						from = weights.HuggingFaceRow(row, d.HeadDim)
					}
					for j, v := range m.B[from*dim : (from+1)*dim] {
						dst[(row-lo)*dim+j] = v * factor
					}
				}
				return nil
			}})
	}
	return gguf.Write(path, pairs(map[string]any{
		"general.architecture": arch, "general.type": "adapter", "adapter.type": "lora", ggufAlpha: float32(alpha),
		"general.file_type": fileTypes[as], "general.quantization_version": uint32(quantizationVersion),
	}), streams)
}

// ggufAlphaOf is the alpha that most modules need: the adapter's own, or what gives rank-stabilised scaling.
func ggufAlphaOf(a *Adapter) float64 {
	if a.RSLoRA {
		return a.Alpha * math.Sqrt(float64(a.Dim))
	}
	return a.Alpha
}

// ReadGGUFAdapter reads what WriteGGUFAdapter or llama.cpp's converter wrote, for the decoder. All faults are reported
// at once.
func ReadGGUFAdapter(path string, d *spec.Decoder) (*Adapter, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	a, err := readGGUFAdapter(f, d)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("GGUF adapter %s: %w", path, err)
	}
	return a, nil
}

func readGGUFAdapter(f *gguf.File, d *spec.Decoder) (*Adapter, error) {
	meta := f.Meta()
	fields, _, err := d.ToGGUF()
	if err != nil {
		return nil, err
	}
	alpha, _ := meta[ggufAlpha].(float32)
	switch arch := fields[0].Value; {
	case meta["general.type"] != "adapter" || meta["adapter.type"] != "lora":
		return nil, fmt.Errorf("general.type is %v and adapter.type %v: this is no LoRA adapter", meta["general.type"], meta["adapter.type"])
	case meta["general.architecture"] != arch:
		return nil, fmt.Errorf("it is for a %v model, the base is %v", meta["general.architecture"], arch)
	case !(alpha > 0) || math.IsInf(float64(alpha), 0):
		return nil, fmt.Errorf("%s is %v, want a positive number", ggufAlpha, meta[ggufAlpha])
	}
	r := ggufReader{f: f, d: d, arch: fields[0].Value.(string), left: map[string]bool{}}
	for _, t := range f.Tensors() {
		r.left[t.Name] = true
	}
	a := &Adapter{Alpha: float64(alpha)}
	var faults []error
	for layer := range d.Layers {
		for _, l := range d.Linears(layer) {
			m, err := r.module(l)
			faults = append(faults, err)
			if m != nil {
				m.Alpha = a.Alpha
				a.Modules, a.Dim = append(a.Modules, *m), max(a.Dim, m.Dim)
			}
		}
	}
	if len(r.left) > 0 {
		var names []string
		for name := range r.left {
			names = append(names, name)
		}
		slices.Sort(names)
		faults = append(faults, fmt.Errorf("tensors that are no adapter of a linear of the base: %s", strings.Join(names[:min(len(names), 10)], ", ")))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return a, errors.Join(a.Validate(), a.Fits(d))
}

// ggufReader takes modules out of a file; left are the tensors that no module took yet.
type ggufReader struct {
	f    *gguf.File
	d    *spec.Decoder
	arch string
	left map[string]bool
}

// module reads the adapter of one linear; nil if there is none.
func (r ggufReader) module(l spec.Linear) (*Module, error) {
	own := weights.GGUFName(l.Name + ".weight")
	infoA, okA := r.f.Info(own + ggufSuffixA)
	infoB, okB := r.f.Info(own + ggufSuffixB)
	delete(r.left, own+ggufSuffixA)
	delete(r.left, own+ggufSuffixB)
	switch {
	case !okA && !okB:
		return nil, nil
	case okA != okB:
		return nil, fmt.Errorf("%s: one matrix without the other", own)
	case len(infoA.Shape) != 2 || len(infoB.Shape) != 2 || infoA.Shape[0] != infoB.Shape[1] || infoA.Shape[0] > maxDim || infoA.Shape[1] != l.In || infoB.Shape[0] != l.Out:
		return nil, fmt.Errorf("%s: lora_a is %v and lora_b %v, want [Dim, %d] and [%d, Dim]", own, infoA.Shape, infoB.Shape, l.In, l.Out)
	}
	m := &Module{Name: l.Name, Dim: infoA.Shape[0], In: l.In, Out: l.Out}
	m.A, m.B = make([]float32, m.Dim*m.In), make([]float32, m.Out*m.Dim)
	b := make([]float32, len(m.B))
	if err := errors.Join(r.f.DequantRows(own+ggufSuffixA, 0, m.Dim, m.A), r.f.DequantRows(own+ggufSuffixB, 0, m.Out, b)); err != nil {
		return nil, err
	}
	for row := range m.Out {
		to := row
		if weights.GGUFPairsRows(r.arch, l.Name+".weight") {
			to = weights.HuggingFaceRow(row, r.d.HeadDim)
		}
		copy(m.B[to*m.Dim:(to+1)*m.Dim], b[row*m.Dim:(row+1)*m.Dim])
	}
	return m, nil
}
