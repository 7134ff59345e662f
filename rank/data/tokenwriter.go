package data

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
)

// castagnoli is CRC-32C, which processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tokenWriter writes samples, one after the other, as tokens has them.
type tokenWriter struct {
	to     *spool
	vocab  int // 0 = not known
	places []place
	crc    uint32
	tail   tail
	buffer []byte
}

func newTokenWriter(to *spool, vocab int) (*tokenWriter, error) {
	w := &tokenWriter{to: to, vocab: vocab, tail: tail{Width: width(vocab)}}
	return w, w.write([]byte(tokensMagic))
}

func (w *tokenWriter) write(b []byte) error {
	w.crc = crc32.Update(w.crc, castagnoli, b)
	return w.to.write(b)
}

// check tells whether a model with the vocabulary can be trained on a sample.
func (w *tokenWriter) check(s Sample) error {
	most := int32(math.MaxInt32)
	if w.vocab > 0 {
		most = int32(min(w.vocab-1, math.MaxInt32))
	}
	for _, list := range [][]int32{s.IDs, s.Labels[max(0, len(s.Labels)-1):]} {
		for _, id := range list {
			if id != Ignored && (id < 0 || id > most) {
				return fmt.Errorf("%s: token %d is none of the model's %d: use the tokenizer that the model came with", s.Origin, id, int64(most)+1)
			}
		}
	}
	return nil
}

// add writes a sample that check has let through.
func (w *tokenWriter) add(s Sample) error {
	n := len(s.IDs)
	p := place{at: w.to.size, ids: uint32(n)}
	b := slices.Grow(w.buffer[:0], int(w.tail.idBytes(n)))[:w.tail.idBytes(n)]
	put := func(i int, id int32) { binary.LittleEndian.PutUint32(b[4*i:], uint32(id)) }
	if w.tail.Width == 2 {
		put = func(i int, id int32) { binary.LittleEndian.PutUint16(b[2*i:], uint16(id)) }
	}
	bits := b[(n+1)*w.tail.Width:]
	clear(bits)
	put(n, 0) // where nothing is predicted it is never seen
	for i, id := range s.IDs {
		put(i, id)
		if s.Labels[i] == Ignored {
			continue
		}
		if i+1 < n && s.Labels[i] != s.IDs[i+1] {
			return fmt.Errorf("data: %s: the label of token %d is %d, and the next token %d", s.Origin, i, s.Labels[i], s.IDs[i+1])
		} else if i+1 == n {
			put(n, s.Labels[i])
		}
		bits[i/8] |= 1 << (i % 8)
		p.trained++
	}
	w.buffer = w.origin(b, s.Origin)
	w.places = append(w.places, p)
	w.tail.Samples++
	w.tail.Tokens += n
	w.tail.Trained += int(p.trained)
	w.tail.Longest = max(w.tail.Longest, n)
	return w.write(w.buffer)
}

// origin appends where a sample is from. Most samples name the same file as the one before, which is kept once.
func (w *tokenWriter) origin(b []byte, origin string) []byte {
	for i := len(w.tail.Files) - 1; i >= 0; i-- {
		if rest, ok := strings.CutPrefix(origin, w.tail.Files[i]); ok {
			return append(binary.AppendUvarint(b, uint64(i+1)), rest...)
		}
	}
	return append(binary.AppendUvarint(b, 0), origin...)
}

// finish writes what follows the samples and returns them, to be read.
func (w *tokenWriter) finish() (*tokens, error) {
	t := &tokens{places: w.places, end: w.to.size, tail: w.tail, close: w.to.close}
	b := w.buffer[:0]
	for i, p := range w.places {
		end := t.end
		if i+1 < len(w.places) {
			end = w.places[i+1].at
		}
		b = binary.LittleEndian.AppendUint32(b, p.ids)
		b = binary.LittleEndian.AppendUint32(b, p.trained)
		b = binary.LittleEndian.AppendUint32(b, uint32(end-p.at-w.tail.idBytes(int(p.ids))))
		if len(b) > 1<<16 || i+1 == len(w.places) {
			if err := w.write(b); err != nil {
				return nil, err
			}
			b = b[:0]
		}
	}
	text, err := json.Marshal(w.tail)
	if err != nil {
		return nil, err
	}
	if err := w.write(binary.LittleEndian.AppendUint32(text, uint32(len(text)))); err != nil {
		return nil, err
	}
	if err := w.write(binary.LittleEndian.AppendUint32(nil, w.crc)); err != nil {
		return nil, err
	}
	t.ReaderAt, err = w.to.reader()
	return t, err
}
