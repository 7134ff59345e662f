package tokenizer

import (
	"container/heap"
	"fmt"
	"sync"
	"unicode/utf8"
)

// spmSpace is the mark that SentencePiece writes for a space.
const spmSpace = "\u2581"

// bpe merges the symbols of a word, best pair first.
//
// A byte-level model spells each byte as one printable character; its symbols are bytes. Others spell characters as
// they are; a character that the vocabulary lacks becomes its bytes ("<0xE2>") with byte fallback, else the unknown
// token.
type bpe struct {
	ids          map[string]int32
	merges       func(a, b int32) (rank int, id int32, ok bool)
	byteLevel    bool
	ignoreMerges bool // a whole word of the vocabulary is taken as it is
	byteFallback bool
	fuseUnk      bool
	unk          int32 // -1 = none
	bytes        [256]int32

	mu    sync.Mutex
	cache map[string][]symbol // protected by mu
}

// symbol is a token of a word and how many bytes of the word it stands for.
type symbol struct {
	id    int32
	bytes int
}

// Words up to cacheWord bytes are remembered, cacheSize of them.
const (
	cacheWord = 48
	cacheSize = 1 << 16
)

// encode appends the tokens of one word.
func (m *bpe) encode(w span, e *Encoding) {
	at := 0
	for _, s := range m.word(w.text) {
		from, to := w.place(at, at+s.bytes)
		e.add(s.id, from, to)
		at += s.bytes
	}
}

func (m *bpe) word(text string) []symbol {
	if len(text) > cacheWord {
		return m.merge(text)
	}
	m.mu.Lock()
	got, ok := m.cache[text]
	m.mu.Unlock()
	if ok {
		return got
	}
	got = m.merge(text)
	m.mu.Lock()
	if len(m.cache) >= cacheSize || m.cache == nil {
		m.cache = make(map[string][]symbol)
	}
	m.cache[text] = got
	m.mu.Unlock()
	return got
}

// symbols are the word's characters (or bytes) before any merge.
func (m *bpe) symbols(text string) []symbol {
	var out []symbol
	if m.byteLevel {
		out = make([]symbol, 0, len(text))
		for i := range len(text) {
			if id := m.bytes[text[i]]; id >= 0 {
				out = append(out, symbol{id, 1})
			} else {
				out = m.unknown(out, 1)
			}
		}
		return out
	}
	for i, c := range text {
		n := utf8.RuneLen(c)
		if id, ok := m.ids[text[i:i+n]]; ok {
			out = append(out, symbol{id, n})
			continue
		}
		if !m.byteFallback {
			out = m.unknown(out, n)
			continue
		}
		whole := true
		for _, b := range []byte(text[i : i+n]) {
			whole = whole && m.bytes[b] >= 0
		}
		if !whole {
			out = m.unknown(out, n)
			continue
		}
		for _, b := range []byte(text[i : i+n]) {
			out = append(out, symbol{m.bytes[b], 1})
		}
	}
	return out
}

// unknown appends the unknown token for n bytes; without one they are dropped, their bytes going to the token before.
func (m *bpe) unknown(out []symbol, n int) []symbol {
	last := len(out) - 1
	switch {
	case m.unk < 0 && last >= 0, m.fuseUnk && last >= 0 && out[last].id == m.unk:
		out[last].bytes += n
	case m.unk >= 0:
		out = append(out, symbol{m.unk, n})
	}
	return out
}

// candidate is a pair that could be merged: the place of its left symbol, and what it was when it was found.
type candidate struct {
	rank, at int
	left     int32
	right    int32
	id       int32
}

type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	old := *c
	x := old[len(old)-1]
	*c = old[:len(old)-1]
	return x
}

// merge tokenises a word: a heap of pairs over a linked list of symbols, so that long words take n log n.
func (m *bpe) merge(text string) []symbol {
	if m.ignoreMerges {
		if id, ok := m.whole(text); ok {
			return []symbol{{id, len(text)}}
		}
	}
	syms := m.symbols(text)
	if len(syms) < 2 {
		return syms
	}
	next, prev := make([]int, len(syms)), make([]int, len(syms))
	for i := range syms {
		next[i], prev[i] = i+1, i-1
	}
	next[len(syms)-1] = -1
	var queue candidates
	offer := func(i int) {
		if i < 0 || next[i] < 0 {
			return
		}
		a, b := syms[i].id, syms[next[i]].id
		if rank, id, ok := m.merges(a, b); ok {
			heap.Push(&queue, candidate{rank, i, a, b, id})
		}
	}
	for i := range syms {
		offer(i)
	}
	for len(queue) > 0 {
		c := heap.Pop(&queue).(candidate)
		i := c.at
		if syms[i].bytes < 0 || syms[i].id != c.left || next[i] < 0 || syms[next[i]].id != c.right {
			continue // merged away meanwhile
		}
		j := next[i]
		syms[i] = symbol{c.id, syms[i].bytes + syms[j].bytes}
		syms[j].bytes = -1
		if next[i] = next[j]; next[j] >= 0 {
			prev[next[j]] = i
		}
		offer(prev[i])
		offer(i)
	}
	out := syms[:0]
	for _, s := range syms {
		if s.bytes >= 0 {
			out = append(out, s)
		}
	}
	return out
}

// whole finds a word of the vocabulary.
func (m *bpe) whole(text string) (int32, bool) {
	if m.byteLevel {
		text = spell(text)
	}
	id, ok := m.ids[text]
	return id, ok
}

// fillBytes finds the tokens of single bytes.
func (m *bpe) fillBytes() {
	for b := range m.bytes {
		name := fmt.Sprintf("<0x%02X>", b)
		if m.byteLevel {
			name = string(byteRune[b])
		}
		m.bytes[b] = -1
		if id, ok := m.ids[name]; ok {
			m.bytes[b] = id
		}
	}
}

// byteRune is GPT-2's spelling of bytes as printable characters, and runeByte its inverse.
var byteRune, runeByte = func() (to [256]rune, from map[rune]byte) {
	from = make(map[rune]byte, 256)
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if b < '!' || b > '~' && b < 0xA1 || b == 0xAD {
			r = next
			next++
		}
		to[b], from[r] = r, byte(b)
	}
	return to, from
}()

// spell writes bytes as GPT-2 does.
func spell(text string) string {
	out := make([]rune, len(text))
	for i := range len(text) {
		out[i] = byteRune[text[i]]
	}
	return string(out)
}
