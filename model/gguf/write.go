package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"gorun/model/mapped"
)

// Pair is one entry of a file's metadata. Values are of the types that File.Meta gives, arrays of arrays excepted.
type Pair struct {
	Key   string
	Value any
}

// Stream is a tensor whose values are made while the file is written, a few rows at a time.
type Stream struct {
	TensorInfo
	// Fill writes rows lo to hi (exclusive) of the outermost dimension to dst, as DequantRows would. Several goroutines
	// call it at once, with rows of their own.
	Fill func(lo, hi int, dst []float32) error
}

// Write writes a file of version 3 with the default alignment: the metadata in the order given, then the tensors. Values
// are stored as each tensor's type, one of Writable. At most a few MiB of values are in memory at a time. The file must
// not exist yet; on an error it is removed.
func Write(path string, meta []Pair, tensors []Stream) error {
	if err := write(path, meta, tensors); err != nil {
		return fmt.Errorf("gguf: write %s: %w", path, err)
	}
	return nil
}

func write(path string, meta []Pair, tensors []Stream) (err error) {
	head, err := encodeHead(meta, tensors)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // less the umask, as any new file
	if err != nil {
		return mapped.Bare(err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, t := range tensors {
		if err := t.write(w); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// padding is how many bytes are missing to the next multiple of the alignment.
func padding(n int) int { return -n & (defaultAlignment - 1) }

// encodeHead is everything before the data, padded, once it is known that it can be read back.
func encodeHead(meta []Pair, tensors []Stream) ([]byte, error) {
	b := append([]byte(magic), 3, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(meta)))
	var faults []error
	seen := map[string]bool{}
	for _, p := range meta {
		if p.Key == "" || len(p.Key) > maxName || seen[p.Key] {
			faults = append(faults, fmt.Errorf("metadata key %.80q is empty, too long or given twice", p.Key))
		}
		seen[p.Key] = true
		k, value, err := encodeValue(p.Value)
		if err != nil {
			faults = append(faults, fmt.Errorf("metadata %q: %w", p.Key, err))
		}
		b = appendString(b, p.Key)
		b = binary.LittleEndian.AppendUint32(b, uint32(k))
		b = append(b, value...)
	}
	offset, names := 0, map[string]bool{}
	for _, t := range tensors {
		if err := t.check(); err != nil || names[t.Name] {
			faults = append(faults, fmt.Errorf("tensor %.80q cannot be written or is given twice: %w", t.Name, err))
			continue
		}
		names[t.Name] = true
		b = appendString(b, t.Name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Shape)))
		for i := range t.Shape {
			b = binary.LittleEndian.AppendUint64(b, uint64(t.Shape[len(t.Shape)-1-i]))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
		b = binary.LittleEndian.AppendUint64(b, uint64(offset))
		_, width := t.rows()
		offset += t.Shape[0] * storedBytes(t.Type, width)
		offset += padding(offset)
	}
	return append(b, make([]byte, padding(len(b)))...), errors.Join(faults...)
}

// check refuses what Write cannot store.
func (t Stream) check() error {
	if len(t.Shape) == 0 || len(t.Shape) > maxDims || t.Name == "" || len(t.Name) > maxName {
		return fmt.Errorf("shape %v must have 1 to %d dimensions, the name 1 to %d bytes", t.Shape, maxDims, maxName)
	}
	values := 1
	for _, d := range t.Shape {
		if d < 1 || values > math.MaxInt/8/d {
			return fmt.Errorf("impossible shape %v", t.Shape)
		}
		values *= d
	}
	if last := t.Shape[len(t.Shape)-1]; !CanStore(t.Type, last) {
		return fmt.Errorf("rows of %d values cannot be stored as %s", last, t.Type)
	}
	return nil
}

// rows is the number of rows, as Fill counts them, and the values of each.
func (t Stream) rows() (n, width int) {
	n, width = t.Shape[0], 1
	for _, d := range t.Shape[1:] {
		width *= d
	}
	return n, width
}

// storedBytes is the size of so many values; with a type of blocks, also of a part of one, counted by its values.
func storedBytes(t Type, values int) int { return values * types[t].bytes / types[t].values }

// chunkValues is about how much of a tensor is made at a time, by all goroutines together.
const chunkValues = 2 << 20

// write makes chunk after chunk, each by all cores, writes them in order, and pads to the alignment.
func (t Stream) write(w io.Writer) error {
	n, width := t.rows()
	chunk, cores := n, runtime.GOMAXPROCS(0)
	if len(t.Shape) == 1 {
		cores = 1 // rows are single values: blocks would be torn
	} else {
		chunk = min(n, max(1, chunkValues/width))
	}
	part := (chunk + cores - 1) / cores
	values, stored := make([]float32, chunk*width), make([]byte, storedBytes(t.Type, chunk*width))
	total := 0
	for lo := 0; lo < n; lo += chunk {
		hi := min(lo+chunk, n)
		var group errgroup.Group
		for at := lo; at < hi; at += part {
			from, to := (at-lo)*width, (min(at+part, hi)-lo)*width
			group.Go(func() error {
				if err := t.Fill(at, at+(to-from)/width, values[from:to]); err != nil {
					return err
				}
				Encode(t.Type, stored[storedBytes(t.Type, from):storedBytes(t.Type, to)], values[from:to])
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		bytes := storedBytes(t.Type, (hi-lo)*width)
		if _, err := w.Write(stored[:bytes]); err != nil {
			return err
		}
		total += bytes
	}
	_, err := w.Write(make([]byte, padding(total)))
	return err
}
