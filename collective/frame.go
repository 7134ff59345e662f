package collective

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Kinds of frame between rank 0 and the others.
const (
	frameValue  = 'v' // a rank's value for an Exchange: number, value
	frameValues = 'V' // all ranks' values: number, values
	frameFailed = 'f' // the job has failed: why
	frameBye    = 'b' // this rank leaves, having ended its work
)

// maxFrame bounds a frame; values are small.
const maxFrame = 16 << 20

// frame is one message between rank 0 and another rank.
type frame struct {
	kind byte
	seq  uint64 // of the Exchange
	body []byte
}

func readFrame(r io.Reader) (f frame, err error) {
	var head [1 + 8 + 4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	n := binary.BigEndian.Uint32(head[9:])
	if n > maxFrame {
		return f, fmt.Errorf("a frame of %d bytes: %w", n, errNotGorun)
	}
	f = frame{head[0], binary.BigEndian.Uint64(head[1:]), make([]byte, n)}
	_, err = io.ReadFull(r, f.body)
	return f, err
}

// peer is the connection to another rank for the length of the job.
type peer struct {
	net.Conn
	frames chan frame    // values for Exchange
	ended  chan struct{} // closed when nothing more will be read

	mu sync.Mutex // held while writing
}

func newPeer(conn net.Conn) *peer {
	return &peer{Conn: conn, frames: make(chan frame, 1), ended: make(chan struct{})}
}

// sendPatience bounds how long a frame may take to leave.
const sendPatience = 2 * time.Second

func (p *peer) send(f frame) error {
	b := append(make([]byte, 0, 13+len(f.body)), f.kind)
	b = binary.BigEndian.AppendUint64(b, f.seq)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.body)))
	b = append(b, f.body...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	_, err := p.Write(b)
	return err
}

// leave says goodbye and waits a while for the other's.
func (p *peer) leave() error {
	err := p.send(frame{kind: frameBye})
	if tcp, ok := p.Conn.(*net.TCPConn); ok && err == nil {
		err = tcp.CloseWrite()
	}
	select {
	case <-p.ended:
	case <-time.After(sendPatience):
	}
	return err
}

// packValues puts all ranks' values into one body; unpackValues takes them out again.
func packValues(values [][]byte) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return b
}

func unpackValues(b []byte, world int) ([][]byte, error) {
	out := make([][]byte, 0, min(world, len(b)))
	for len(b) >= 4 && len(out) < world {
		n := int64(binary.BigEndian.Uint32(b))
		if b = b[4:]; n > int64(len(b)) {
			break
		}
		out = append(out, b[:n:n])
		b = b[n:]
	}
	if len(out) != world || len(b) != 0 {
		return nil, fmt.Errorf("values of %d ranks: %w", world, errNotGorun)
	}
	return out, nil
}
