package collective

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Every connection between ranks begins with a greeting, by which each side proves to the other that it holds the job's
// key, without sending it:
//
//	dialer   -> greeting (who, which job, a nonce)
//	acceptor -> its nonce, HMAC(key, "accept", greeting, its nonce)
//	dialer   -> HMAC(key, "dial", greeting, the acceptor's nonce)
//	acceptor -> why it refuses; empty if it does not
//
// What follows is neither encrypted nor signed, as with NCCL: ranks belong on a network of their own.

// Kinds of connection.
const (
	joining  = 'j' // a rank to rank 0, for the length of the job
	sending  = 'w' // messages of one communicator, one way
	inquiry  = 's' // how far is a communicator?
	nonceLen = 32
	maxName  = 64
	maxWhy   = 512
)

var magic = []byte("gorun-1\n")

// greeting says who opens a connection and what for.
type greeting struct {
	kind                    byte
	generation, world, from uint32
	name                    string // of the communicator
	nonce                   [nonceLen]byte
}

func (g *greeting) encode() []byte {
	b := append([]byte(nil), magic...)
	b = append(b, g.kind)
	for _, v := range []uint32{g.generation, g.world, g.from} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = append(b, byte(len(g.name)))
	b = append(b, g.name...)
	return append(b, g.nonce[:]...)
}

// errNotGorun says that the other end does not speak as gorun does.
var errNotGorun = errors.New("the other end is no rank of gorun, or of another version")

func readGreeting(r io.Reader) (g greeting, err error) {
	var head [8 + 1 + 12 + 1]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return g, err
	}
	if !bytes.Equal(head[:8], magic) || head[21] > maxName {
		return g, errNotGorun
	}
	g.kind = head[8]
	g.generation, g.world, g.from = binary.BigEndian.Uint32(head[9:]), binary.BigEndian.Uint32(head[13:]), binary.BigEndian.Uint32(head[17:])
	name := make([]byte, head[21])
	if _, err := io.ReadFull(r, name); err != nil {
		return g, err
	}
	g.name = string(name)
	_, err = io.ReadFull(r, g.nonce[:])
	return g, err
}

// errKey says that the two ends hold different keys.
var errKey = errors.New("the other end holds another job key: GORUN_JOB_KEY must be the same on every rank")

// greet opens a connection as g, whose nonce it draws.
func greet(conn io.ReadWriter, key []byte, g greeting) error {
	if _, err := rand.Read(g.nonce[:]); err != nil {
		return err
	}
	hello := g.encode()
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	var answer [nonceLen + sha256.Size]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	nonce := answer[:nonceLen]
	if !hmac.Equal(answer[nonceLen:], proof(key, "accept", hello, nonce)) {
		return errKey
	}
	if _, err := conn.Write(proof(key, "dial", hello, nonce)); err != nil {
		return err
	}
	var n [2]byte
	if _, err := io.ReadFull(conn, n[:]); err != nil {
		return err
	}
	why := make([]byte, min(int(binary.BigEndian.Uint16(n[:])), maxWhy))
	if _, err := io.ReadFull(conn, why); err != nil {
		return err
	}
	if len(why) > 0 {
		return refusal(why)
	}
	return nil
}

// refusal is why an acceptor does not want the connection, in its words.
type refusal string

func (r refusal) Error() string { return fmt.Sprintf("refused: %q", string(r)) }

// welcome answers a greeting; check may refuse it.
func welcome(conn io.ReadWriter, key []byte, check func(greeting) error) (greeting, error) {
	g, err := readGreeting(conn)
	if err != nil {
		return g, err
	}
	hello := g.encode()
	var nonce [nonceLen]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return g, err
	}
	if _, err := conn.Write(append(nonce[:], proof(key, "accept", hello, nonce[:])...)); err != nil {
		return g, err
	}
	var got [sha256.Size]byte
	if _, err := io.ReadFull(conn, got[:]); err != nil {
		return g, err
	}
	if !hmac.Equal(got[:], proof(key, "dial", hello, nonce[:])) {
		return g, errKey
	}
	var why string
	refused := check(g)
	if refused != nil {
		why = refused.Error()
		why = why[:min(len(why), maxWhy)]
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(why))), why...))
	return g, errors.Join(refused, err)
}

func proof(key []byte, side string, hello, nonce []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(side)) // a hash cannot fail
	h.Write(hello)
	h.Write(nonce)
	return h.Sum(nil)
}
