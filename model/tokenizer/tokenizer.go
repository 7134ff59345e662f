package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// Tokenizer is a vocabulary with the rules to use it.
type Tokenizer struct {
	tokens    []string         // by id, as the vocabulary spells them; "" = no such id
	ids       map[string]int32 // the vocabulary, added tokens included
	added     addedTokens
	normalize []normalizer
	split     []splitter
	model     *bpe
	decode    decoder
	before    []int32 // ids that addSpecial puts before a text
	after     []int32
	bos, eos  int32 // -1 = none
	pad       int32
	chat      string // Jinja chat template; "" = none
}

// Encoding is a tokenised text.
type Encoding struct {
	IDs     []int32
	Offsets [][2]int // byte offsets [from, to) in the original text; of a token that stands for part of a character, all of it
}

// Encode tokenises text, which must be UTF-8. addSpecial adds what the model's own post-processor adds, such as BOS;
// those tokens have empty offsets.
func (t *Tokenizer) Encode(text string, addSpecial bool) (Encoding, error) {
	var e Encoding
	if !utf8.ValidString(text) {
		return e, fmt.Errorf("tokenizer: the text is not UTF-8 (first at byte %d): convert it first", firstInvalid(text))
	}
	if addSpecial {
		for _, id := range t.before {
			e.add(id, 0, 0)
		}
	}
	// Added tokens that are matched before normalisation cut the text; each piece between them is normalised, cut at the
	// other added tokens, split, and given to the model.
	for _, piece := range t.added.cut(plain(text), false) {
		if piece.id >= 0 {
			e.add(piece.id, piece.from(), piece.to())
			continue
		}
		s := piece.span
		for _, n := range t.normalize {
			s = n(s)
		}
		for _, piece := range t.added.cut(s, true) {
			if piece.id >= 0 {
				e.add(piece.id, piece.from(), piece.to())
				continue
			}
			words := []span{piece.span}
			for _, split := range t.split {
				words = split.apply(words)
			}
			for _, w := range words {
				t.model.encode(w, &e)
			}
		}
	}
	if addSpecial {
		for _, id := range t.after {
			e.add(id, len(text), len(text))
		}
	}
	return e, nil
}

func (e *Encoding) add(id int32, from, to int) {
	e.IDs = append(e.IDs, id)
	e.Offsets = append(e.Offsets, [2]int{from, to})
}

func firstInvalid(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return len(s)
}

// VocabSize is one more than the highest id.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// TokenID finds a token by its spelling in the vocabulary.
func (t *Tokenizer) TokenID(token string) (int32, bool) {
	id, ok := t.ids[token]
	return id, ok
}

// Token is the spelling of an id in the vocabulary; "" if there is none.
func (t *Tokenizer) Token(id int32) string {
	if id < 0 || int(id) >= len(t.tokens) {
		return ""
	}
	return t.tokens[id]
}

// BOS is the token that begins a text, if there is one.
func (t *Tokenizer) BOS() (int32, bool) { return t.bos, t.bos >= 0 }

// EOS is the token that ends a text, if there is one.
func (t *Tokenizer) EOS() (int32, bool) { return t.eos, t.eos >= 0 }

// Pad is the token that fills rows, if there is one.
func (t *Tokenizer) Pad() (int32, bool) { return t.pad, t.pad >= 0 }

// ChatTemplate is the Jinja template of chats; "" if there is none.
func (t *Tokenizer) ChatTemplate() string { return t.chat }
