package collective

import (
	"bytes"
	"testing"
)

// FuzzGreeting: whatever a stranger sends first, reading it ends, and what is accepted is written back the same.
func FuzzGreeting(f *testing.F) {
	g := greeting{kind: joining, generation: 1, world: 8, from: 3, name: "dp_shard"}
	f.Add(g.encode())
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := readGreeting(bytes.NewReader(data))
		if err == nil && !bytes.HasPrefix(data, g.encode()) {
			t.Errorf("%x is read as %+v", data, g)
		}
	})
}

// FuzzFrame: frames and the values in them are read within bounds, and what is accepted is packed the same.
func FuzzFrame(f *testing.F) {
	f.Add(append([]byte{frameValues, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9}, packValues([][]byte{{7}, nil})...), 2)
	f.Add([]byte{frameFailed, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 3)
	f.Fuzz(func(t *testing.T, data []byte, world int) {
		got, err := readFrame(bytes.NewReader(data))
		if err != nil {
			return
		}
		values, err := unpackValues(got.body, max(1, world%64))
		if err == nil && !bytes.Equal(packValues(values), got.body) {
			t.Errorf("%x is read as %x", got.body, values)
		}
	})
}
