package tokenizer

import "unicode/utf8"

// span is a piece of text on its way through the tokenizer, with the place in the original text that each of its bytes
// comes from. While nothing has changed the text, starts is nil and byte i comes from original byte origin+i.
type span struct {
	text   string
	origin int
	starts []int // per byte: original offset of the character it came from
	ends   []int // per byte: where that character ends
	first  bool  // begins the text (for prefixes that only the first piece gets)
}

func plain(text string) span { return span{text: text, first: true} }

// slice is the part [lo, hi).
func (s span) slice(lo, hi int) span {
	out := span{text: s.text[lo:hi], origin: s.origin + lo, first: s.first && lo == 0}
	if s.starts != nil {
		out.origin = 0
		out.starts, out.ends = s.starts[lo:hi], s.ends[lo:hi]
	}
	return out
}

// place is the original range of bytes [lo, hi) of the span, widened to whole characters.
func (s span) place(lo, hi int) (from, to int) {
	if lo >= hi {
		return s.origin, s.origin
	}
	if s.starts != nil {
		return s.starts[lo], s.ends[hi-1]
	}
	for lo > 0 && !utf8.RuneStart(s.text[lo]) {
		lo--
	}
	for hi < len(s.text) && !utf8.RuneStart(s.text[hi]) {
		hi++
	}
	return s.origin + lo, s.origin + hi
}

func (s span) from() int { from, _ := s.place(0, len(s.text)); return from }
func (s span) to() int   { _, to := s.place(0, len(s.text)); return to }

// rewriter builds a changed copy of a span.
type rewriter struct {
	in  span
	out span
	buf []byte
}

func rewrite(s span) *rewriter {
	return &rewriter{in: s, out: span{first: s.first, starts: []int{}, ends: []int{}}}
}

// put appends text that comes from bytes [lo, hi) of the input.
func (r *rewriter) put(text string, lo, hi int) {
	from, to := r.in.place(lo, hi)
	r.buf = append(r.buf, text...)
	for range len(text) {
		r.out.starts, r.out.ends = append(r.out.starts, from), append(r.out.ends, to)
	}
}

// keep appends bytes [lo, hi) of the input unchanged.
func (r *rewriter) keep(lo, hi int) {
	for i := lo; i < hi; {
		_, n := utf8.DecodeRuneInString(r.in.text[i:])
		r.put(r.in.text[i:i+n], i, i+n)
		i += n
	}
}

func (r *rewriter) done() span {
	r.out.text = string(r.buf)
	return r.out
}
