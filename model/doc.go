// Package model is a decoder as compiled programs: one forward and one backward program per distinct kind of block,
// shared by all layers that look alike, an embedding program, a head-and-loss program, and the optimizer's maths. The
// backward pass is written by hand and saves the minimum.
//
// The package knows parameters by name and shape and is handed their buffers; it never learns how they are stored,
// how many devices there are, or where samples come from. rank joins it with fsdp, which holds the buffers.
//
// Shape letters, used as suffixes of variables in program code:
//
//	T tokens of a micro-batch = Rows*Seq     D hidden size           H query heads
//	B rows                                   F intermediate size     K key/value heads
//	S sequence length                        V vocabulary            G = H/K queries per key/value head
//	N output features of a linear            R adapter dim           E head size
package model
