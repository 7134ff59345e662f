package chat

import (
	"testing"

	"gorun/model/chat/jinja"
)

// FuzzTrained: of any conversation, what is trained on lies in the text, in order and apart.
func FuzzTrained(f *testing.F) {
	g, templates := readGolden(f)
	for _, c := range g.Conversations {
		f.Add([]byte(c))
	}
	f.Add([]byte(`[{"role":"assistant","content":""},{"role":"assistant","content":"a"}]`))
	f.Add([]byte(`[{"from":"human","value":"<|im_end|>"},{"from":"gpt","value":"<|im_start|>"}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := jinja.FromJSON(raw)
		if err != nil {
			return
		}
		conv, err := Read(v, nil)
		if err != nil {
			return
		}
		for name, tpl := range templates {
			text, spans, err := tpl.Trained(conv)
			if err != nil && (text != "" || spans != nil) {
				t.Errorf("%s: %q %v beside %v", name, text, spans, err)
			}
			at := 0
			for _, s := range spans {
				if s[0] < at || s[1] < s[0] || s[1] > len(text) {
					t.Errorf("%s: %v of %d bytes", name, spans, len(text))
				}
				at = s[1]
			}
		}
	})
}
