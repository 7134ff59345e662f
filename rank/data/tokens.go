package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// tokens are the samples of a data set where they lie: in a file, or in memory while they are few. What is held of a
// sample in memory is its place, 16 bytes.
//
// They are read by pread and not mapped: what a run has trained on would else count as its memory, page by page until it
// has the size of the file; and a file that is cut, or a disk that fails, would end the process by a signal where this
// ends the run with an error.
//
// A file of tokens is
//
//	magic
//	per sample   its tokens, ids and the one that the last of them predicts, of 2 or 4 bytes, little-endian;
//	             a bit per id: is it trained on; where it is from, as a number of a file (uvarint, 0 = none) and text
//	per sample   uint32 ids, uint32 ids trained on, uint32 bytes of where it is from: the index
//	tail         JSON
//	uint32 length of the tail, uint32 CRC-32C of all before it: the end
//
// A label is the next token or none, so labels take a bit. Two bytes are enough where the vocabulary has at most 65536.
type tokens struct {
	io.ReaderAt
	close  func() error
	places []place
	end    int64 // of the last sample
	tail
}

// place is where a sample begins, and how long it is.
type place struct {
	at           int64
	ids, trained uint32
}

// tail is what a file of tokens says of itself.
type tail struct {
	Width     int // bytes of a token
	Samples   int
	Tokens    int
	Trained   int
	Longest   int
	Skipped   int
	Truncated int
	Reasons   []string
	Files     []string // that the samples are from
}

const (
	tokensMagic = "gorun tokens 2\n\n" // 16 bytes: samples begin at an even place
	indexBytes  = 12
	endBytes    = 8
)

// width is the bytes of a token of a vocabulary; 0 = not known.
func width(vocab int) int {
	if vocab > 0 && vocab <= 1<<16 {
		return 2
	}
	return 4
}

// idBytes are the bytes of n ids, the token that the last of them predicts and the bits of what is trained on.
func (t *tail) idBytes(n int) int64 { return int64(n+1)*int64(t.Width) + int64(n+7)/8 }

// raw reads a sample as it lies; origin tells whether where it is from is wanted too.
func (t *tokens) raw(i int, origin bool) ([]byte, error) {
	p, end := t.places[i], t.end
	if i+1 < len(t.places) {
		end = t.places[i+1].at
	}
	if !origin {
		end = p.at + t.idBytes(int(p.ids))
	}
	b := make([]byte, end-p.at)
	if _, err := t.ReadAt(b, p.at); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("data: read sample %d of the tokenised data: %w: the file was cut or its disk fails; start again, and it is made anew", i, err)
	}
	return b, nil
}

// fill writes the ids and labels of a sample to the beginning of two lists.
func (t *tokens) fill(i int, ids, labels []int32) error {
	b, err := t.raw(i, false)
	if err != nil {
		return err
	}
	t.decode(b, ids[:t.places[i].ids], labels)
	return nil
}

// decode takes ids and labels of a sample out of its bytes.
func (t *tail) decode(b []byte, ids, labels []int32) {
	token := func(n int) int32 { return int32(binary.LittleEndian.Uint32(b[4*n:])) }
	if t.Width == 2 {
		token = func(n int) int32 { return int32(binary.LittleEndian.Uint16(b[2*n:])) }
	}
	bits := b[(len(ids)+1)*t.Width:]
	next := token(0)
	for n := range ids {
		ids[n], next = next, token(n+1)
		labels[n] = Ignored
		if bits[n/8]>>(n%8)&1 == 1 {
			labels[n] = next
		}
	}
}

// sample reads a sample with all that there is of it.
func (t *tokens) sample(i int) (Sample, error) {
	b, err := t.raw(i, true)
	if err != nil {
		return Sample{}, err
	}
	n := int(t.places[i].ids)
	s := Sample{IDs: make([]int32, n), Labels: make([]int32, n)}
	t.decode(b, s.IDs, s.Labels)
	origin := b[t.idBytes(n):]
	file, size := binary.Uvarint(origin)
	if size <= 0 || file > uint64(len(t.Files)) {
		return Sample{}, fmt.Errorf("data: sample %d of the tokenised data is from file %d of %d: the file has been changed; start again, and it is made anew", i, file, len(t.Files))
	}
	s.Origin = string(origin[size:])
	if file > 0 {
		s.Origin = t.Files[file-1] + s.Origin
	}
	return s, nil
}
