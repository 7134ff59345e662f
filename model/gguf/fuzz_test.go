package gguf

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// FuzzOpen: no file makes the reader panic, and what it accepts can be read to the last row.
func FuzzOpen(f *testing.F) {
	// Small seeds: the fuzzer spends its time on shrinking large ones.
	f.Add(header(0, 0).Bytes())
	pairs := header(0, 6).put("a", uint32(kindUint8), uint8(1), "b", uint32(kindInt64), int64(-1), "c", uint32(kindBool), uint8(1))
	pairs.put("d", uint32(kindString), "x", "e", uint32(kindFloat32), float32(1), "f", uint32(kindArray), uint32(kindString), uint64(2), "", "y")
	f.Add(pairs.Bytes())
	for typ, s := range types {
		f.Add(header(1, 0).tensor("w", typ, 0, uint64(s.values), 2).data(32, 2*s.bytes))
	}
	f.Add(nested(7).Bytes())
	f.Add(header(1, 1).put("general.alignment", uint32(kindUint32), uint32(8)).tensor("w", Q8_0, 0, 64).data(8, 68))
	f.Add(header(2, 0).tensor("a", Q6K, 0, 256).tensor("b", F16, 224, 2, 3).data(32, 236))
	f.Fuzz(func(t *testing.T, body []byte) {
		contents, err := parse(body)
		if err != nil {
			return
		}
		file := &File{path: "fuzz", contents: contents, data: body}
		for _, info := range file.Tensors() {
			if _, err := file.Bytes(info.Name); err != nil {
				t.Fatal(err)
			}
			rows, row := 1, count(info)
			if types[info.Type].decode == nil || row == 0 {
				continue
			}
			if len(info.Shape) > 0 {
				rows, row = info.Shape[0], row/info.Shape[0]
			}
			for _, span := range [][2]int{{0, min(rows, 1)}, {rows / 2, rows}} {
				if err := file.DequantRows(info.Name, span[0], span[1], make([]float32, (span[1]-span[0])*row)); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkDequant decodes one type on one core; B/s counts float32 bytes, so 4 GB/s is 1e9 values a second.
func BenchmarkDequant(b *testing.B) {
	const values = 1 << 16
	random := rand.New(rand.NewPCG(1, 2))
	for _, typ := range []Type{F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4K, Q5K, Q6K} {
		b.Run(fmt.Sprint(typ), func(b *testing.B) {
			s := types[typ]
			src := make([]byte, values/s.values*s.bytes)
			for i := range src {
				src[i] = byte(random.Uint32())
			}
			if typ == F16 { // sizes that weights have; every 32nd random one would be subnormal, which is slow
				for i := 1; i < len(src); i += 2 {
					src[i] = src[i]&0x83 | byte(8+i%7)<<2
				}
			}
			dst := make([]float32, values)
			b.SetBytes(4 * values)
			for b.Loop() {
				decodeRange(s, dst, src, 0)
			}
		})
	}
}

// BenchmarkDemoModel dequantises a whole real model in chunks, one goroutine a core.
func BenchmarkDemoModel(b *testing.B) {
	f := demo(b)
	type job struct {
		name   string
		lo, hi int
		values int
	}
	var jobs []job
	total := 0
	for _, info := range f.Tensors() {
		row := count(info) / info.Shape[0]
		step := max(1, (1<<16)/row)
		for lo := 0; lo < info.Shape[0]; lo += step {
			hi := min(lo+step, info.Shape[0])
			jobs = append(jobs, job{info.Name, lo, hi, (hi - lo) * row})
		}
		total += count(info)
	}
	b.SetBytes(int64(4 * total))
	for b.Loop() {
		queue := make(chan job, len(jobs))
		for _, j := range jobs {
			queue <- j
		}
		close(queue)
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				buffer := make([]float32, 1<<17)
				for j := range queue {
					if err := f.DequantRows(j.name, j.lo, j.hi, buffer[:j.values]); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// BenchmarkOpen opens the demo model: metadata with a vocabulary of 49152.
func BenchmarkOpen(b *testing.B) {
	path := demo(b).Path()
	for b.Loop() {
		f, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
