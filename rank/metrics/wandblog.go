package metrics

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A .wandb file is LevelDB's log (doc/log_format.md there) behind a header of its own, with plain CRC-32 (IEEE) over a
// chunk's type and data. Chunks lie in blocks of 32 KiB, the file's header being part of the first; one starts with
// its checksum (uint32), length (uint16) and type, little-endian, and never crosses a block's end.
const (
	wandbMagic  = ":W&B\xe1\xbe\x00" // identification, 0xBEE1, version 0
	wandbBlock  = 32 << 10
	chunkHeader = 4 + 2 + 1
)

// Types of chunks: a whole record, or the first, a middle or the last part of one.
const (
	chunkFull   = 1
	chunkFirst  = 2
	chunkMiddle = 3
	chunkLast   = 4
)

// maxWandbRecord bounds a record that is read back; the largest of ours holds the recipe.
const maxWandbRecord = 1 << 24

// wandbChunks frames a record that is to lie at offset of a file.
func wandbChunks(offset int64, record []byte) []byte {
	var b []byte
	for first := true; first || len(record) > 0; first = false {
		room := wandbBlock - int((offset+int64(len(b)))%wandbBlock)
		if room < chunkHeader {
			b = append(b, make([]byte, room)...)
			room = wandbBlock
		}
		n := min(len(record), room-chunkHeader)
		kind := byte(chunkMiddle)
		switch last := n == len(record); {
		case first && last:
			kind = chunkFull
		case first:
			kind = chunkFirst
		case last:
			kind = chunkLast
		}
		b = binary.LittleEndian.AppendUint32(b, chunkCRC(kind, record[:n]))
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
		b = append(append(b, kind), record[:n]...)
		record = record[n:]
	}
	return b
}

func chunkCRC(kind byte, data []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte{kind}), crc32.IEEETable, data)
}

// wandbReader reads a .wandb file.
type wandbReader struct {
	in     *bufio.Reader
	offset int64
}

// scanWandb calls visit with each record and the offset behind it. A last record that is cut short is left out; one
// that is damaged is an error.
func scanWandb(r io.Reader, visit func(record []byte, behind int64) error) error {
	w := &wandbReader{in: bufio.NewReaderSize(r, wandbBlock)}
	var magic [len(wandbMagic)]byte
	if err := w.read(magic[:]); err != nil {
		return unlessTorn(err)
	}
	if string(magic[:]) != wandbMagic {
		return errors.New("not a .wandb file of version 0")
	}
	for {
		record, err := w.record()
		if err != nil {
			return unlessTorn(err)
		}
		if err := visit(record, w.offset); err != nil {
			return err
		}
	}
}

func (w *wandbReader) read(b []byte) error {
	n, err := io.ReadFull(w.in, b)
	w.offset += int64(n)
	return err
}

// record puts a record's chunks together.
func (w *wandbReader) record() ([]byte, error) {
	var record []byte
	for first := true; ; first = false {
		kind, data, err := w.chunk()
		switch {
		case err != nil:
			return nil, err
		case kind < chunkFull || kind > chunkLast || first != (kind == chunkFull || kind == chunkFirst):
			return nil, fmt.Errorf("a chunk of type %d before byte %d is out of place", kind, w.offset)
		case len(record)+len(data) > maxWandbRecord:
			return nil, fmt.Errorf("the record before byte %d is longer than %d bytes", w.offset, maxWandbRecord)
		}
		record = append(record, data...)
		if kind == chunkFull || kind == chunkLast {
			return record, nil
		}
	}
}

// chunk reads the next chunk, and the padding before it.
func (w *wandbReader) chunk() (kind byte, data []byte, err error) {
	if room := wandbBlock - int(w.offset%wandbBlock); room < chunkHeader {
		if err := w.read(make([]byte, room)); err != nil {
			return 0, nil, err
		}
	}
	var header [chunkHeader]byte
	if err := w.read(header[:]); err != nil {
		return 0, nil, err
	}
	data = make([]byte, binary.LittleEndian.Uint16(header[4:]))
	if err := w.read(data); err != nil {
		return 0, nil, err
	}
	kind = header[6]
	if binary.LittleEndian.Uint32(header[:]) != chunkCRC(kind, data) {
		return 0, nil, fmt.Errorf("the chunk before byte %d is damaged", w.offset)
	}
	return kind, data, nil
}
