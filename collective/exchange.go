package collective

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// maxValue bounds what a rank gives to an Exchange.
const maxValue = 64 << 10

// Exchange gives every rank all ranks' values, in the order of ranks. Each rank calls it as often, from one goroutine;
// values are at most 64 KiB. what names it in errors.
func (j *Job) Exchange(what string, mine []byte) ([][]byte, error) {
	return j.ExchangeWithin(what, mine, j.cfg.Timeout)
}

// ExchangeWithin is Exchange where ranks may come later than the job's timeout allows. Rank 0 knows who is late: the others
// wait to be told.
func (j *Job) ExchangeWithin(what string, mine []byte, patience time.Duration) ([][]byte, error) {
	if len(mine) > maxValue {
		return nil, fmt.Errorf("exchange %s: a value of %d bytes, at most %d may be passed", what, len(mine), maxValue)
	}
	j.seq++
	collect := j.fromAll
	if j.cfg.Rank != 0 {
		collect, patience = j.fromRoot, patience+causePatience
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	all, err := collect(mine, late.C)
	if err != nil {
		return nil, fmt.Errorf("exchange %s: %w", what, j.fail(err))
	}
	return all, nil
}

// fromAll is rank 0's side: it takes everybody's value and passes all on.
func (j *Job) fromAll(mine []byte, late <-chan time.Time) ([][]byte, error) {
	all := make([][]byte, j.cfg.World)
	all[0] = mine
	var missing []int
	past := make(chan time.Time)
	close(past)
	for r := 1; r < j.cfg.World; r++ {
		f, err := j.take(r, frameValue, late)
		switch {
		case errors.Is(err, errLate):
			missing, late = append(missing, r), past // from now on take only what is here
		case err != nil:
			return nil, err
		}
		all[r] = f.body
	}
	if missing != nil {
		return nil, fmt.Errorf("ranks %v have not arrived", missing)
	}
	body := packValues(all)
	for r := 1; r < j.cfg.World; r++ {
		if err := j.peers[r].send(frame{frameValues, j.seq, body}); err != nil {
			return nil, fmt.Errorf("rank %d is gone: %w", r, err)
		}
	}
	return all, nil
}

// fromRoot is the other ranks' side.
func (j *Job) fromRoot(mine []byte, late <-chan time.Time) ([][]byte, error) {
	if err := j.peers[0].send(frame{frameValue, j.seq, mine}); err != nil {
		return nil, fmt.Errorf("rank 0 is gone: %w", err)
	}
	f, err := j.take(0, frameValues, late)
	if errors.Is(err, errLate) {
		return nil, errors.New("rank 0 does not answer")
	} else if err != nil {
		return nil, err
	}
	return unpackValues(f.body, j.cfg.World)
}

// take waits for a peer's frame of this exchange.
func (j *Job) take(rank int, kind byte, late <-chan time.Time) (frame, error) {
	var f frame
	select {
	case f = <-j.peers[rank].frames:
	default:
		select {
		case f = <-j.peers[rank].frames:
		case <-j.ctx.Done():
			return frame{}, j.Err()
		case <-late:
			return frame{}, errLate
		}
	}
	if f.kind != kind || f.seq != j.seq {
		return frame{}, fmt.Errorf("rank %d is at exchange %d, this rank at %d: every rank must run the same recipe with the same version of gorun", rank, f.seq, j.seq)
	}
	return f, nil
}

// Sum adds numbers up over all ranks, element by element, in the order of ranks: every rank gets the same bits.
func (j *Job) Sum(what string, values []float64) ([]float64, error) {
	return j.fold(what, values, j.cfg.Timeout, func(sum, v float64) float64 { return sum + v })
}

// Greatest is the greatest of all ranks' magnitudes, element by element; ranks may come as late as patience allows.
func (j *Job) Greatest(what string, magnitudes []float64, patience time.Duration) ([]float64, error) {
	return j.fold(what, magnitudes, patience, func(most, v float64) float64 { return max(most, v) })
}

// fold joins all ranks' numbers, element by element, to what begins as zeros.
func (j *Job) fold(what string, values []float64, patience time.Duration, join func(sofar, v float64) float64) ([]float64, error) {
	b := make([]byte, 0, 8*len(values))
	for _, v := range values {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(v))
	}
	all, err := j.ExchangeWithin(what, b, patience)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(values))
	for r, x := range all {
		if len(x) != len(b) {
			return nil, j.fail(fmt.Errorf("exchange %s: rank %d gives %d numbers, this rank %d", what, r, len(x)/8, len(values)))
		}
		for i := range out {
			out[i] = join(out[i], math.Float64frombits(binary.BigEndian.Uint64(x[8*i:])))
		}
	}
	return out, nil
}
