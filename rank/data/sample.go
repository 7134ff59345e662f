package data

import (
	"fmt"
	"strings"

	"gorun/model/chat"
	"gorun/model/tokenizer"
)

// Ignored is the label of a position that is not trained on.
const Ignored = -100

// Sample is one tokenised example: Labels[t] is what position t should predict (the next token), or Ignored.
type Sample struct {
	IDs    []int32
	Labels []int32 // as long as IDs
	Origin string  // file:line, for messages
}

// Valid is the number of positions trained on.
func (s Sample) Valid() int {
	n := 0
	for _, l := range s.Labels {
		if l != Ignored {
			n++
		}
	}
	return n
}

// Tokenizer is what the package needs of one.
type Tokenizer interface {
	chat.Tokenizer
	Encode(text string, addSpecial bool) (tokenizer.Encoding, error)
}

// shifted makes a sample of a whole token sequence, where trained tells which tokens are predicted; the last token is
// only ever predicted, so it is no input.
func shifted(tokens []int32, trained []bool, origin string) Sample {
	n := len(tokens) - 1
	s := Sample{IDs: tokens[:n], Labels: make([]int32, n), Origin: origin}
	for t := range s.Labels {
		s.Labels[t] = Ignored
		if trained[t+1] {
			s.Labels[t] = tokens[t+1]
		}
	}
	return s
}

// Show renders a sample with what is trained on between marks; decode turns ids into text.
func Show(s Sample, decode func(ids []int32) string) string {
	var b strings.Builder
	tokens := append(append([]int32(nil), s.IDs...), 0)
	trained := make([]bool, len(tokens))
	for t, l := range s.Labels {
		if l != Ignored {
			tokens[t+1], trained[t+1] = l, true
		}
	}
	if !trained[len(tokens)-1] {
		tokens = tokens[:len(tokens)-1]
	}
	for lo := 0; lo < len(tokens); {
		hi := lo
		for hi < len(tokens) && trained[hi] == trained[lo] {
			hi++
		}
		if text := decode(tokens[lo:hi]); trained[lo] {
			fmt.Fprintf(&b, "[[%s]]", text)
		} else {
			b.WriteString(text)
		}
		lo = hi
	}
	return fmt.Sprintf("%s (%d tokens, %d trained on)\n%s", s.Origin, len(s.IDs), s.Valid(), b.String())
}
