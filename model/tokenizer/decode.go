package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// decoder says how the spelling of tokens becomes text.
type decoder struct {
	byteLevel    bool
	byteFallback bool
	replace      [][2]string // in spellings, such as the space mark
	stripStart   int         // spaces to drop at the start of a text
}

// Decode is the text of ids; skipSpecial leaves special tokens out. Bytes that are not UTF-8 become U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	var b []byte
	for _, id := range ids {
		b = append(b, t.bytesOf(id, skipSpecial)...)
	}
	return lossy(t.trimStart(b))
}

func (t *Tokenizer) trimStart(b []byte) []byte {
	for range t.decode.stripStart {
		if len(b) > 0 && b[0] == ' ' {
			b = b[1:]
		}
	}
	return b
}

// bytesOf is what one token stands for.
func (t *Tokenizer) bytesOf(id int32, skipSpecial bool) []byte {
	if skipSpecial && t.added.special[id] {
		return nil
	}
	if text, ok := t.added.all[id]; ok {
		return []byte(text)
	}
	token := t.Token(id)
	if t.decode.byteLevel {
		out := make([]byte, 0, len(token))
		for _, r := range token {
			c, ok := runeByte[r]
			if !ok {
				return []byte(token) // not spelt in bytes: the token is its own text
			}
			out = append(out, c)
		}
		return out
	}
	if t.decode.byteFallback && len(token) == 6 && strings.HasPrefix(token, "<0x") && token[5] == '>' {
		var c byte
		if _, err := fmt.Sscanf(token, "<0x%02X>", &c); err == nil {
			return []byte{c}
		}
	}
	for _, r := range t.decode.replace {
		token = strings.ReplaceAll(token, r[0], r[1])
	}
	return []byte(token)
}

// lossy makes valid UTF-8: each longest run that could have begun a character becomes one U+FFFD, as in Rust.
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r != utf8.RuneError || n > 1 {
			out.Write(b[:n])
			b = b[n:]
			continue
		}
		out.WriteRune(utf8.RuneError)
		b = b[prefix(b):]
	}
	return out.String()
}

// prefix is how many bytes of b, which is invalid, could have begun one character (at least 1).
func prefix(b []byte) int {
	for n := 3; n > 1; n-- {
		if len(b) >= n && !utf8.FullRune(b[:n]) {
			return n
		}
	}
	return 1
}

// Stream decodes tokens one by one, holding back what is not yet whole characters.
type Stream struct {
	t       *Tokenizer
	pending []byte
	begun   bool
}

// NewStream begins a text.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Push adds a token and returns the text that is now certain, special tokens left out.
func (s *Stream) Push(id int32) string {
	s.pending = append(s.pending, s.t.bytesOf(id, true)...)
	if !s.begun && len(s.pending) > 0 {
		s.pending, s.begun = s.t.trimStart(s.pending), true
	}
	n := len(s.pending)
	for back := 1; back <= min(3, n); back++ {
		if c := s.pending[n-back]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(s.pending[n-back:]) {
				n -= back
			}
			break
		}
	}
	out := lossy(s.pending[:n])
	s.pending = s.pending[n:]
	return out
}

// Flush returns what is left at the end.
func (s *Stream) Flush() string {
	out := lossy(s.pending)
	s.pending = nil
	return out
}

func parseDecoder(raw json.RawMessage, d *decoder) error {
	if isNull(raw) {
		return nil
	}
	var c struct {
		Type          string            `json:"type"`
		Decoders      []json.RawMessage `json:"decoders"`
		Pattern       pattern           `json:"pattern"`
		Content       string            `json:"content"`
		Start         int               `json:"start"`
		Stop          int               `json:"stop"`
		Replacement   string            `json:"replacement"`
		PrependScheme string            `json:"prepend_scheme"`
		AddPrefix     *bool             `json:"add_prefix_space"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("decoder: %w", err)
	}
	switch c.Type {
	case "Sequence":
		for _, r := range c.Decoders {
			if err := parseDecoder(r, d); err != nil {
				return err
			}
		}
	case "ByteLevel":
		d.byteLevel = true
	case "ByteFallback":
		d.byteFallback = true
	case "Fuse":
	case "Replace":
		if c.Pattern.String == nil {
			return fmt.Errorf("decoder Replace: only a string pattern is known to gorun")
		}
		d.replace = append(d.replace, [2]string{*c.Pattern.String, c.Content})
	case "Strip":
		if c.Content != " " || c.Stop != 0 || c.Start < 0 || c.Start > 64 {
			return fmt.Errorf("decoder Strip of %q (%d, %d): gorun knows spaces at the start", c.Content, c.Start, c.Stop)
		}
		d.stripStart += c.Start
	case "Metaspace":
		mark := c.Replacement
		if mark == "" {
			mark = spmSpace
		}
		d.replace = append(d.replace, [2]string{mark, " "})
		if c.PrependScheme != "never" && (c.AddPrefix == nil || *c.AddPrefix) {
			d.stripStart++
		}
	default:
		return fmt.Errorf("decoder %q is not one that gorun knows", c.Type)
	}
	return nil
}
