package jinja

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzRender: any text is a template that gives UTF-8 text, or an *Error; its generations lie in the text, in order.
func FuzzRender(f *testing.F) {
	all, names := readSnippets(f)
	for _, c := range all.Cases {
		f.Add(c.Source)
	}
	f.Fuzz(func(t *testing.T, src string) {
		tpl, err := Parse(src)
		if err == nil {
			var r Rendered
			r, err = tpl.Render(names)
			at := 0
			for _, g := range r.Generations {
				if g[0] < at || g[1] < g[0] || g[1] > len(r.Text) {
					t.Errorf("%q: generations %v of %d bytes", src, r.Generations, len(r.Text))
				}
				at = g[0]
			}
			if utf8.ValidString(src) && !utf8.ValidString(r.Text) {
				t.Errorf("%q gives %q, which is not UTF-8", src, r.Text)
			}
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Msg == "" && !e.Raised) {
			t.Errorf("%q: %v", src, err)
		}
	})
}

// FuzzFromJSON: any bytes are a value that prints and is JSON again, or an error.
func FuzzFromJSON(f *testing.F) {
	for _, s := range []string{`{"a": [1, 2.5, null, true, "x"]}`, `[[]]`, `1e999`, `-0`, `"\ud800"`, `{"a":1,"a":2}`, `12345678901234567890`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := FromJSON(raw)
		if err != nil {
			return
		}
		text, err := render("{{ v | tojson }}", map[string]any{"v": v})
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		// Python's json writes infinite numbers in a way that JSON does not have.
		if _, err := FromJSON([]byte(text)); err != nil && !strings.Contains(text, "Infinity") {
			t.Errorf("%q became %q: %v", raw, text, err)
		}
	})
}
