package model

// documents is where cuDNN's attention finds the documents of packed rows: it takes a list of them, each a run of tokens
// of all rows one after the other, and cares neither for rows nor for their order. So rows are cut anew, to the length
// of the longest document or a little more (Shape.Reach): cuDNN works for each place of a row on as many documents as
// there may be, and what it keeps of the soft-max is as wide as a row.

// documents lists the documents of a batch: where each begins among all tokens, and how long it is, at most reach. Every
// token is in one, since cuDNN leaves the results of others unset. Tokens of documents that have but one, as packing
// gives to padding, are put together where none has a label: what they see matters to nobody.
func (b Batch) documents(reach int) (starts, lengths []int32) {
	lone := func(i int) bool {
		next := i + 1
		return int(b.Starts[i]) == i%b.Seq && b.Labels[i] == ignored && (next%b.Seq == 0 || b.Starts[next] != b.Starts[i])
	}
	for i := range b.Starts {
		last := len(starts) - 1
		switch {
		case int(b.Starts[i]) < i%b.Seq,
			lone(i) && i > 0 && lone(i-1) && int(lengths[last]) < reach:
			lengths[last]++
		default:
			starts, lengths = append(starts, int32(i)), append(lengths, 1)
		}
	}
	return starts, lengths
}

// anew is how long rows of packed tokens are for cuDNN's attention, and how many of them there are.
func (s Shape) anew() (rows, length int) {
	tokens := s.Rows * s.Seq
	if s.Reach > 0 && tokens%s.Reach == 0 {
		return tokens / s.Reach, s.Reach
	}
	return s.Rows, s.Seq
}

// places rounds a number of documents up to what programs are compiled for: a power of two, at least two, for each row.
func (s Shape) places(documents int) int {
	rows, _ := s.anew()
	n := 2 * rows
	for n < documents {
		n *= 2
	}
	return n
}

// packsFlash tells whether cuDNN's attention can take packed rows: its offsets, which count numbers, are of 32 bits.
func (c Config) packsFlash(s Shape) bool {
	return c.Flash && s.Packed && s.Seq > 1 && !c.Split.Context.split() && s.Rows*s.Seq*c.Decoder.Heads*c.Decoder.HeadDim < 1<<31
}

// listed are the documents as programs take them: places of lengths, of which those beyond the last are empty, and a
// start more per row than places, of which those beyond the last are the end of all tokens.
func (s Shape) listed(starts, lengths []int32) (allStarts, allLengths []int32) {
	rows, _ := s.anew()
	allLengths = append(allLengths, lengths...)
	for len(allLengths) < s.Documents {
		allLengths = append(allLengths, 0)
	}
	allStarts = append(allStarts, starts...)
	for len(allStarts) < s.Documents+rows {
		allStarts = append(allStarts, int32(s.Rows*s.Seq))
	}
	return allStarts, allLengths
}
