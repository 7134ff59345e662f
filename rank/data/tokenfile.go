package data

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// openTokens opens a file of tokens. It reads all of it once: what is not whole is an error, before anything is trained
// on it.
func openTokens(path string) (*tokens, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := readTokens(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	t.close = f.Close
	return t, nil
}

func readTokens(f *os.File) (*tokens, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkSum(f, info.Size()); err != nil {
		return nil, err
	}
	return parseTokens(f, info.Size())
}

var errDamaged = errors.New("damaged")

// checkSum compares a file with the checksum at its end.
func checkSum(r io.ReaderAt, size int64) error {
	if size < int64(len(tokensMagic)+endBytes) {
		return fmt.Errorf("%w: it has %d bytes", errDamaged, size)
	}
	h := crc32.New(castagnoli)
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(r, 0, size-4), make([]byte, 1<<20)); err != nil {
		return err
	}
	var sum [4]byte
	if _, err := r.ReadAt(sum[:], size-4); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(sum[:]) != h.Sum32() {
		return fmt.Errorf("%w: its checksum is not that of its contents", errDamaged)
	}
	return nil
}

// parseTokens reads the tail and the index of a file, and checks that they describe it.
func parseTokens(r io.ReaderAt, size int64) (*tokens, error) {
	if size < int64(len(tokensMagic)+endBytes) {
		return nil, fmt.Errorf("%w: it has %d bytes", errDamaged, size)
	}
	magic, end := make([]byte, len(tokensMagic)), make([]byte, endBytes)
	if _, err := r.ReadAt(magic, 0); err != nil {
		return nil, err
	}
	if _, err := r.ReadAt(end, size-endBytes); err != nil {
		return nil, err
	}
	room := size - int64(len(tokensMagic)) - endBytes // for samples, index and tail
	length := int64(binary.LittleEndian.Uint32(end))
	if string(magic) != tokensMagic || length > room {
		return nil, fmt.Errorf("%w: it is no file of tokens of this version", errDamaged)
	}
	text := make([]byte, length)
	if _, err := r.ReadAt(text, size-endBytes-length); err != nil {
		return nil, err
	}
	t := &tokens{ReaderAt: r}
	if err := json.Unmarshal(text, &t.tail); err != nil {
		return nil, fmt.Errorf("%w: its tail: %w", errDamaged, err)
	}
	room -= length
	if t.Samples < 0 || int64(t.Samples) > room/indexBytes || t.Width != 2 && t.Width != 4 {
		return nil, fmt.Errorf("%w: its tail speaks of %d samples of tokens of %d bytes", errDamaged, t.Samples, t.Width)
	}
	t.end = int64(len(tokensMagic)) + room - int64(t.Samples)*indexBytes
	return t, t.readIndex(bufio.NewReaderSize(io.NewSectionReader(r, t.end, int64(t.Samples)*indexBytes), 1<<16))
}

// readIndex reads where the samples are. They fill the file to the index, and are what the tail says of them.
func (t *tokens) readIndex(r io.Reader) error {
	t.places = make([]place, t.Samples)
	at := int64(len(tokensMagic))
	is := tail{}
	var entry [indexBytes]byte
	for i := range t.places {
		if _, err := io.ReadFull(r, entry[:]); err != nil {
			return err
		}
		p := place{at, binary.LittleEndian.Uint32(entry[0:]), binary.LittleEndian.Uint32(entry[4:])}
		at += t.idBytes(int(p.ids)) + int64(binary.LittleEndian.Uint32(entry[8:]))
		if p.trained > p.ids || at > t.end {
			return fmt.Errorf("%w: sample %d of %d tokens, %d trained on, ends at %d of %d", errDamaged, i, p.ids, p.trained, at, t.end)
		}
		t.places[i] = p
		is.Tokens += int(p.ids)
		is.Trained += int(p.trained)
		is.Longest = max(is.Longest, int(p.ids))
	}
	if at != t.end || is.Tokens != t.Tokens || is.Trained != t.Trained || is.Longest != t.Longest {
		return fmt.Errorf("%w: its samples are not what its tail says", errDamaged)
	}
	return nil
}
