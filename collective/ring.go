package collective

import "github.com/gomlx/compute/dtypes"

// The ring algorithms. A tensor list is laid out as size parts, part r being rank r's: each part is a message of pieces,
// one for each tensor. Every step sends a part to the next rank and receives another from the rank before, so each rank
// sends (size-1)/size of the bytes once for an all-gather or a reduce-scatter, which is the least possible.

type ring struct {
	wire
	call
	rank, size int
}

func (r ring) at(n int) int { return ((n % r.size) + r.size) % r.size }

// step sends one message on and receives one.
func (r ring) step(send, recv message) error {
	return r.exchange(r.call, r.at(r.rank+1), send, r.at(r.rank-1), recv)
}

// gather fills all parts from each rank's own.
func (r ring) gather(parts []message) error {
	for s := range r.size - 1 {
		if err := r.step(parts[r.at(r.rank-s)], parts[r.at(r.rank-s-1)]); err != nil {
			return err
		}
	}
	return nil
}

// scatter writes to out the sum over ranks of this rank's part. Part p is summed in the order of ranks p+1, p+2, ..., p.
func (r ring) scatter(types []dtypes.DType, parts []message, out message) error {
	have := parts[r.at(r.rank-1)]
	for s := range r.size - 1 {
		own := parts[r.at(r.rank-s-2)]
		sum := out
		if s < r.size-2 {
			sum = like(own)
		}
		if err := r.step(have, sum); err != nil {
			return err
		}
		for i := range sum {
			add(types[i], sum[i], own[i])
		}
		have = sum
	}
	return nil
}

// first sends every rank's message to rank 0, whose own is left.
func (r ring) first(send message, recv []message) error {
	if r.rank > 0 {
		return r.give(r.call, 0, send)
	}
	for from := 1; from < r.size; from++ {
		if err := r.take(r.call, from, recv[from]); err != nil {
			return err
		}
	}
	return nil
}

// like is new memory of a message's sizes.
func like(m message) message {
	out := make(message, len(m))
	for i := range m {
		out[i] = make([]byte, len(m[i]))
	}
	return out
}
