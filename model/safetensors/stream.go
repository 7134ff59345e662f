package safetensors

import (
	"fmt"
	"io"
	"runtime"

	"github.com/gomlx/compute/dtypes"
	"golang.org/x/sync/errgroup"
)

// Stream is a tensor whose data is made while the file is written, a few rows at a time, so that a file larger
// than memory can be written. Shape is outermost first.
type Stream struct {
	Name  string
	DType dtypes.DType
	Shape []int
	// Fill writes rows lo to hi (exclusive) of the first dimension to dst, little endian and row-major; dst has
	// exactly their size. Several goroutines call it at once, with rows of their own.
	Fill func(lo, hi int, dst []byte) error
}

// WriteStreams is Write for tensors that are made on the way: the same bytes, whole or not at all. At most a few
// MiB of data are in memory at a time.
func WriteStreams(path string, tensors []Stream, metadata map[string]string) error {
	items := make([]item, len(tensors))
	for i, t := range tensors {
		size := 0
		if byDType(t.DType) >= 0 {
			size, _ = byteSize(Info{DType: t.DType, Shape: t.Shape}) // a fault is found, and told, by checkItems
		}
		items[i] = item{t.Name, t.DType, t.Shape, size, t.write}
	}
	if err := writeItems(path, items, metadata, createExclusive); err != nil {
		return fmt.Errorf("safetensors: write %s: %w", path, err)
	}
	return nil
}

// chunkBytes is about how much of a tensor is made at a time, by all goroutines together.
const chunkBytes = 8 << 20

// write makes chunk after chunk, each by all cores, and writes them in order.
func (t Stream) write(w io.Writer) error {
	size, _ := byteSize(Info{DType: t.DType, Shape: t.Shape})
	if size == 0 {
		return nil
	}
	rows := 1
	if len(t.Shape) > 0 {
		rows = t.Shape[0]
	}
	width := size / rows
	chunk := min(rows, max(1, chunkBytes/width))
	part := (chunk + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
	buf := make([]byte, chunk*width)
	for lo := 0; lo < rows; lo += chunk {
		hi := min(lo+chunk, rows)
		var group errgroup.Group
		for at := lo; at < hi; at += part {
			end := min(at+part, hi)
			group.Go(func() error { return t.Fill(at, end, buf[(at-lo)*width:(end-lo)*width]) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if _, err := w.Write(buf[:(hi-lo)*width]); err != nil {
			return err
		}
	}
	return nil
}
