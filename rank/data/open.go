package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Limits of what is read: a longer line or a larger file, once unpacked, is refused, so that a damaged or hostile file
// is an error instead of an exhausted machine.
const (
	maxLine      = 64 << 20
	maxFile      = 1 << 30 // of the formats that are read whole: .json and .txt
	zstdMaxFrame = 1 << 30
)

// format tells the format of a file by its name: json, jsonl, parquet, text or "".
func format(name string) string {
	name = strings.ToLower(name)
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	switch filepath.Ext(name) {
	case ".json":
		return "json"
	case ".jsonl", ".ndjson":
		return "jsonl"
	case ".parquet":
		return "parquet"
	case ".txt":
		return "text"
	}
	return ""
}

// open opens a file, unpacking gzip and zstd (known by its name or by its first bytes) and dropping a byte order mark. read
// is told of the bytes that are read of it, unless it is nil.
func open(path string, read func(bytes int64)) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	u, err := unpack(path, counted{f, read})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data: %s: %w", path, err), f.Close())
	}
	text := bufio.NewReaderSize(u.Reader, 1<<16)
	if mark, _ := text.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) { // a failed read comes back at the next one
		if _, err := text.Discard(3); err != nil {
			return nil, errors.Join(fmt.Errorf("data: %s: %w", path, err), u.Close())
		}
	}
	return &unpacked{text, u.close}, nil
}

// unpacked reads what is in a file and closes all that reading it took.
type unpacked struct {
	io.Reader
	close func() error
}

// Close closes the file.
func (u *unpacked) Close() error { return u.close() }

// wholly says of a file that cannot be unpacked to its end what may have happened to it.
type wholly struct{ io.Reader }

func (w wholly) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("cannot be unpacked to its end (is the download complete?): %w", err)
	}
	return n, err
}

func unpack(name string, f io.ReadCloser) (*unpacked, error) {
	raw := bufio.NewReaderSize(f, 1<<16)
	magic, _ := raw.Peek(4) // a failed read comes back at the next one
	ext := strings.ToLower(filepath.Ext(name))
	switch {
	case ext == ".gz" || bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, err
		}
		return &unpacked{wholly{z}, func() error { return errors.Join(z.Close(), f.Close()) }}, nil
	case ext == ".zst" || bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(raw, zstd.WithDecoderMaxMemory(zstdMaxFrame))
		if err != nil {
			return nil, err
		}
		return &unpacked{wholly{z}, func() error { z.Close(); return f.Close() }}, nil
	}
	return &unpacked{raw, f.Close}, nil
}

// readWhole reads all of r, at most maxFile bytes.
func readWhole(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %d GiB: give it as JSON lines or parquet", maxFile>>30)
	}
	return data, err
}

// lines calls each for every line that is not blank, with its number from 1.
func lines(r io.Reader, each func(n int, line []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 1<<16), maxLine)
	n := 0
	for s.Scan() {
		n++
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 {
			if err := each(n, line); err != nil {
				return err
			}
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d MiB: is it JSON lines, one example per line?", n+1, maxLine>>20)
	}
	return s.Err()
}
