package chat

import (
	"errors"
	"fmt"
	"strings"

	"gorun/model/chat/jinja"
)

// Template is a model's chat template with its special tokens. Several goroutines may use it at once.
type Template struct {
	template *jinja.Template
	tokens   map[string]string // bos_token, eos_token, pad_token
}

// Tokenizer is what a template takes of a tokenizer.
type Tokenizer interface {
	ChatTemplate() string
	Token(id int32) string
	BOS() (int32, bool)
	EOS() (int32, bool)
	Pad() (int32, bool)
}

// New reads the chat template of a tokenizer.
func New(tok Tokenizer) (*Template, error) {
	src := tok.ChatTemplate()
	if src == "" {
		return nil, errors.New("the model has no chat template: take its instruct variant, or put a chat_template.jinja beside its tokenizer.json")
	}
	tokens := map[string]string{}
	for name, of := range map[string]func() (int32, bool){"bos_token": tok.BOS, "eos_token": tok.EOS, "pad_token": tok.Pad} {
		if id, ok := of(); ok {
			tokens[name] = tok.Token(id)
		}
	}
	return Parse(src, tokens)
}

// Parse reads a chat template; tokens are the special tokens by their names in transformers, such as bos_token.
func Parse(src string, tokens map[string]string) (*Template, error) {
	t, err := jinja.Parse(src)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	return &Template{t, tokens}, nil
}

// Render is the text of a conversation; prompt asks for the beginning of the assistant's next turn after it.
func (t *Template) Render(c Conversation, prompt bool) (string, error) {
	r, err := t.render(c, prompt)
	return r.Text, err
}

func (t *Template) render(c Conversation, prompt bool) (jinja.Rendered, error) {
	messages := &jinja.List{}
	for _, m := range c.Messages {
		messages.Items = append(messages.Items, m)
	}
	names := map[string]any{"messages": messages, "tools": nil, "documents": nil, "add_generation_prompt": prompt}
	if c.Tools != nil {
		names["tools"] = c.Tools
	}
	for name, token := range t.tokens {
		names[name] = token
	}
	r, err := t.template.Render(names)
	var e *jinja.Error
	if errors.As(err, &e) && e.Raised {
		return r, fmt.Errorf("the chat template refuses it: %s", e.Msg)
	} else if err != nil {
		return r, fmt.Errorf("chat template: %w", err)
	}
	return r, nil
}

// Trained renders a conversation and tells what the assistant wrote of it: bytes [from, to), in order. A template that
// marks it with {% generation %} is believed. Of any other, a turn begins where the conversation before it ends, asked
// for the assistant's turn, and ends where the conversation with it ends: so its header is left out, and the token that
// ends it is in. An error where the template writes a turn differently from how it asks for it.
func (t *Template) Trained(c Conversation) (text string, spans [][2]int, err error) {
	all, err := t.render(c, false)
	if err != nil {
		return "", nil, err
	}
	if t.template.MarksGeneration() {
		for _, g := range all.Generations {
			if g[0] < g[1] {
				spans = append(spans, g)
			}
		}
		return all.Text, spans, nil
	}
	for i, m := range c.Messages {
		if role, _ := m.Get("role"); role != "assistant" {
			continue
		}
		from, err := t.begin(c, i, all.Text)
		if err != nil {
			return "", nil, err
		}
		to, err := t.end(c, i, all.Text, from)
		if err != nil {
			return "", nil, err
		}
		if n := len(spans); n > 0 && from < spans[n-1][1] {
			return "", nil, fmt.Errorf("message %d: the chat template writes it into the turn before it: mark what is trained on with {%% generation %%} in the template", i+1)
		}
		spans = append(spans, [2]int{from, to})
	}
	return all.Text, spans, nil
}

// begin is where message i begins in the text of the whole conversation.
func (t *Template) begin(c Conversation, i int, all string) (int, error) {
	before := Conversation{c.Messages[:i], c.Tools}
	r, err := t.render(before, true)
	if err != nil {
		return 0, fmt.Errorf("message %d: what comes before it, rendered alone: %w", i+1, err)
	}
	if !strings.HasPrefix(all, r.Text) {
		return 0, fmt.Errorf("message %d: the chat template asks for the assistant's turn in other words than it writes one (%q): mark what is trained on with {%% generation %%} in the template", i+1, tail(r.Text))
	}
	return len(r.Text), nil
}

// end is where message i, which begins at from, ends: white space between turns is of none. Some templates write the
// end-of-sequence token after a whole conversation, which an earlier turn does not end with. Those that drop the reasoning
// of earlier turns write a last turn in another way; there that token ends it.
func (t *Template) end(c Conversation, i int, all string, from int) (int, error) {
	r, err := t.render(Conversation{c.Messages[:i+1], c.Tools}, false)
	if err != nil {
		return 0, fmt.Errorf("message %d: up to it, rendered alone: %w", i+1, err)
	}
	text := r.Text
	content := strings.TrimSpace(contentOf(c.Messages[i]))
	cut := strings.TrimRight(text, whiteSpace)
	if content == "" || !strings.HasSuffix(cut, content) {
		text = cut // something follows the content: the token that ends a turn
	}
	if len(text) >= from && strings.HasPrefix(all, text) {
		return len(text), nil
	}
	if eos := t.tokens["eos_token"]; eos != "" {
		alone := strings.TrimRight(strings.TrimSuffix(cut, eos), whiteSpace)
		if len(alone) > from && strings.HasPrefix(all, alone) {
			return len(alone), nil
		}
		if n := strings.Index(all[from:], eos); n >= 0 {
			return from + n + len(eos), nil
		}
	}
	return 0, fmt.Errorf("message %d: the chat template writes it in another way once messages follow: mark what is trained on with {%% generation %%} in the template", i+1)
}

const whiteSpace = " \t\r\n"

// contentOf is a message's content where it is text.
func contentOf(m *jinja.Dict) string {
	v, _ := m.Get("content")
	s, _ := v.(string)
	return s
}

// tail is the end of a text, for messages.
func tail(s string) string {
	r := []rune(s)
	return string(r[max(0, len(r)-40):])
}
