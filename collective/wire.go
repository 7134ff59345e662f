package collective

import (
	"time"
)

// op is a kind of collective.
type op uint8

const (
	allGather op = iota + 1
	reduceScatter
	allReduce
	gather
)

var opNames = map[op]string{allGather: "all-gather", reduceScatter: "reduce-scatter", allReduce: "all-reduce", gather: "gather"}

// call is one collective in progress.
type call struct {
	op       op
	seq      uint64 // of the communicator, from 1
	deadline time.Time
}

// message is pieces of memory that travel together.
type message [][]byte

func (m message) bytes() int {
	n := 0
	for _, piece := range m {
		n += len(piece)
	}
	return n
}

// wire carries the messages of one communicator. Ranks are those of the communicator. One goroutine uses it at a time.
type wire interface {
	// exchange sends a message to one rank while it receives one, of just the size of recv, from another. It fails when
	// the other is in another call, when the deadline passes, and when the job has failed.
	exchange(c call, to int, send message, from int, recv message) error
	// give sends a message to a rank, and take receives one from it; they fail as exchange does.
	give(c call, to int, m message) error
	take(c call, from int, m message) error
	// fail makes err the failure of the whole job, unless it has failed already, and returns the job's failure.
	fail(c call, err error) error
}
