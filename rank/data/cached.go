package data

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A data set in the cache is a zstd frame, with its checksum, of cachedMagic and then numbers (uvarint), texts (length,
// bytes) and lists (length, int32 little-endian): skipped, truncated, reasons, and of each sample origin, ids, labels.
const cachedMagic = "gorun tokens 1\n"

// Bounds on what is read, far beyond what is written.
const (
	maxCachedText = 1 << 20
	maxCachedList = 1 << 28
)

// readCached reads a data set and marks it as used now. All that is not wholly one is an error.
func readCached(path string) (d *Dataset, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(zstdMaxFrame))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	if d, err = decodeDataset(z); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // of somebody else's file: it only counts as older than it is
	return d, nil
}

// writeCached writes a data set, whole or not at all.
func writeCached(path string, d *Dataset) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tokens-*")
	if err != nil {
		return err
	}
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err == nil {
		err = errors.Join(encodeDataset(z, d), z.Close())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func encodeDataset(to io.Writer, d *Dataset) error {
	w := bufio.NewWriterSize(to, 1<<16)
	var scratch []byte
	flush := func() {
		_, _ = w.Write(scratch) // w keeps the error for Flush
		scratch = scratch[:0]
	}
	number := func(n int) { scratch = binary.AppendUvarint(scratch, uint64(n)) }
	text := func(s string) {
		number(len(s))
		scratch = append(scratch, s...)
	}
	list := func(ids []int32) {
		number(len(ids))
		for _, id := range ids {
			scratch = binary.LittleEndian.AppendUint32(scratch, uint32(id))
		}
	}
	scratch = append(scratch, cachedMagic...)
	number(d.Skipped)
	number(d.Truncated)
	number(len(d.Reasons))
	for _, r := range d.Reasons {
		text(r)
	}
	number(len(d.Samples))
	for _, s := range d.Samples {
		text(s.Origin)
		list(s.IDs)
		list(s.Labels)
		flush()
	}
	flush()
	return w.Flush()
}

// decodeDataset reads what encodeDataset wrote, to its end, which is where the frame's checksum is compared.
func decodeDataset(from io.Reader) (*Dataset, error) {
	r := &cachedReader{r: bufio.NewReaderSize(from, 1<<16)}
	if magic := r.bytes(len(cachedMagic)); r.err == nil && string(magic) != cachedMagic {
		return nil, errors.New("no tokens of this version")
	}
	d := &Dataset{Cached: true}
	d.Skipped, d.Truncated = r.number(math.MaxInt32), r.number(math.MaxInt32)
	for n := r.number(maxCachedText); n > 0 && r.err == nil; n-- {
		d.Reasons = append(d.Reasons, r.text())
	}
	for n := r.number(math.MaxInt32); n > 0 && r.err == nil; n-- {
		s := Sample{Origin: r.text(), IDs: r.list(), Labels: r.list()}
		if r.err == nil && len(s.IDs) != len(s.Labels) {
			return nil, fmt.Errorf("sample %d has %d ids and %d labels", len(d.Samples), len(s.IDs), len(s.Labels))
		}
		d.Samples = append(d.Samples, s)
	}
	if r.err != nil {
		return nil, r.err
	}
	if _, err := r.r.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, errors.Join(errors.New("something follows the samples"), err)
	}
	return d, nil
}

// cachedReader keeps the first error; after it everything is empty.
type cachedReader struct {
	r   *bufio.Reader
	err error
}

func (c *cachedReader) number(most uint64) int {
	if c.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(c.r)
	if err == nil && n > most {
		err = fmt.Errorf("a number is %d, at most %d is read", n, most)
	}
	if c.err = err; err != nil {
		return 0
	}
	return int(n)
}

// bytes reads n bytes, in pieces: a wrong length is not allocated before it is found wrong.
func (c *cachedReader) bytes(n int) (out []byte) {
	const piece = 1 << 20
	for len(out) < n && c.err == nil {
		at := len(out)
		out = append(out, make([]byte, min(piece, n-at))...)
		_, c.err = io.ReadFull(c.r, out[at:])
	}
	return out
}

func (c *cachedReader) text() string { return string(c.bytes(c.number(maxCachedText))) }

func (c *cachedReader) list() []int32 {
	raw := c.bytes(4 * c.number(maxCachedList))
	if c.err != nil {
		return nil
	}
	out := make([]int32, len(raw)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}
