package collective

import "gorun/csrc/device"

// Comm is a set of ranks that talk. All of them call the same methods with the same shapes in the same order, each from
// one goroutine. what names the tensors in errors and in the flight record ("block 7").
//
// Buffers passed in stay the caller's, who may free them when the call returns. A result that is the very buffer passed
// in means that nothing had to move.
type Comm interface {
	Rank() int // of this process among Size
	Size() int

	// Fix exchanges shards that will never change for the same ones, lying where gathering them costs least. It consumes
	// them; the new ones are for AllGather alone. All ranks of the job call it together.
	Fix(what string, shards []*device.Buffer) ([]*device.Buffer, error)

	// AllGather returns whole tensors, of the given shapes, from every rank's shards along axis 0 (see Part).
	AllGather(what string, shards []*device.Buffer, whole []device.Shape) ([]*device.Buffer, error)
	// ReduceScatter sums whole tensors over the ranks and returns this rank's shards along axis 0, each of ShardShape;
	// rows that only fill a shard are zero.
	ReduceScatter(what string, whole []*device.Buffer) ([]*device.Buffer, error)
	// AllReduce sums tensors over the ranks.
	AllReduce(what string, tensors []*device.Buffer) ([]*device.Buffer, error)

	// StartAllGather, StartReduceScatter and StartAllReduce give the collective to the device and return while data moves.
	// What is passed in stays as it is until Work.Wait. What they give is for programs and further collectives alone, not to be
	// downloaded.
	StartAllGather(what string, shards []*device.Buffer, whole []device.Shape) (Work, error)
	StartReduceScatter(what string, whole []*device.Buffer) (Work, error)
	StartAllReduce(what string, tensors []*device.Buffer) (Work, error)
}

// Work is a collective that was started, for a device of its own to go on meanwhile with what it was given. Wait is called
// once, by the goroutine that started it: it returns the results and makes whatever the device is given from then on come
// after them, without waiting for the device.
type Work interface {
	Wait() ([]*device.Buffer, error)
}

// done is the Work of a collective that has ended.
type done []*device.Buffer

func (d done) Wait() ([]*device.Buffer, error) { return d, nil }

// ended is a collective's outcome as Work.
func ended(results []*device.Buffer, err error) (Work, error) { return done(results), err }

// outcome takes a started collective to its results.
func outcome(w Work, err error) ([]*device.Buffer, error) {
	if err != nil {
		return nil, err
	}
	return w.Wait()
}

// Solo is one rank alone: every collective returns what it was given, without a copy.
type Solo struct{}

// Rank is 0.
func (Solo) Rank() int { return 0 }

// Size is 1.
func (Solo) Size() int { return 1 }

// Fix returns the shards.
func (Solo) Fix(_ string, shards []*device.Buffer) ([]*device.Buffer, error) { return shards, nil }

// AllGather returns the shards: they are whole.
func (Solo) AllGather(_ string, shards []*device.Buffer, _ []device.Shape) ([]*device.Buffer, error) {
	return shards, nil
}

// ReduceScatter returns the tensors: their sum over one rank.
func (Solo) ReduceScatter(_ string, whole []*device.Buffer) ([]*device.Buffer, error) {
	return whole, nil
}

// AllReduce returns the tensors: their sum over one rank.
func (Solo) AllReduce(_ string, tensors []*device.Buffer) ([]*device.Buffer, error) {
	return tensors, nil
}

// StartAllGather is AllGather.
func (s Solo) StartAllGather(what string, shards []*device.Buffer, whole []device.Shape) (Work, error) {
	return ended(s.AllGather(what, shards, whole))
}

// StartReduceScatter is ReduceScatter.
func (s Solo) StartReduceScatter(what string, whole []*device.Buffer) (Work, error) {
	return ended(s.ReduceScatter(what, whole))
}

// StartAllReduce is AllReduce.
func (s Solo) StartAllReduce(what string, tensors []*device.Buffer) (Work, error) {
	return ended(s.AllReduce(what, tensors))
}
