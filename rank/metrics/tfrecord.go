package metrics

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A TFRecord is the data's length (uint64), the masked CRC-32C of those 8 bytes, the data, and its masked CRC-32C, all
// little-endian (tensorflow/core/lib/io/record_writer.h).
const (
	tfHeader = 8 + 4
	tfFooter = 4
)

// maxTFRecord bounds a record that is read back; ours have some hundred bytes.
const maxTFRecord = 1 << 24

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is a CRC-32C that may be stored beside what it is of (tensorflow/core/lib/hash/crc32c.h).
func maskedCRC(b []byte) uint32 {
	crc := crc32.Checksum(b, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// tfRecord frames data.
func tfRecord(data []byte) []byte {
	b := make([]byte, 0, tfHeader+len(data)+tfFooter)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(b))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, maskedCRC(data))
}

// scanTFRecords calls visit with each record's data, valid until it returns, and the offset behind the record. A last
// record that is cut short is left out; one that is damaged is an error.
func scanTFRecords(r io.Reader, visit func(data []byte, behind int64) error) error {
	in := bufio.NewReader(r)
	var offset int64
	var data []byte
	for {
		var header [tfHeader]byte
		if _, err := io.ReadFull(in, header[:]); err != nil {
			return unlessTorn(err)
		}
		if binary.LittleEndian.Uint32(header[8:]) != maskedCRC(header[:8]) {
			return fmt.Errorf("the record at byte %d has a damaged length", offset)
		}
		n := binary.LittleEndian.Uint64(header[:])
		if n > maxTFRecord {
			return fmt.Errorf("the record at byte %d has %d bytes, more than %d", offset, n, maxTFRecord)
		}
		if need := int(n) + tfFooter; cap(data) < need {
			data = make([]byte, need)
		}
		data = data[:int(n)+tfFooter]
		if _, err := io.ReadFull(in, data); err != nil {
			return unlessTorn(err)
		}
		if binary.LittleEndian.Uint32(data[n:]) != maskedCRC(data[:n]) {
			return fmt.Errorf("the record at byte %d is damaged", offset)
		}
		offset += int64(tfHeader + len(data))
		if err := visit(data[:n], offset); err != nil {
			return err
		}
	}
}

// unlessTorn is nil for the end of the input, even within a record.
func unlessTorn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
