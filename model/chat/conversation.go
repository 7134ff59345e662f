package chat

import (
	"fmt"
	"slices"

	"gorun/model/chat/jinja"
)

// Conversation is what a template renders.
type Conversation struct {
	Messages []*jinja.Dict // each with "role" and, mostly, "content"
	Tools    *jinja.List   // JSON schemas of functions; nil = none
}

// reasoningFields are the names under which a message's reasoning is passed.
var reasoningFields = []string{"reasoning_content", "thinking", "reasoning"}

// Read makes a conversation of a list of messages, OpenAI's {role, content} or ShareGPT's {from, value}, and of a list of
// tools (nil or None = none), either of which may also be JSON in a string. What differs from data set to data set is
// made alike: null fields other than content are left out, as columns of tables have them; a tool call's arguments are
// an object even if they came as JSON in a string, as in OpenAI's format; reasoning goes by all the names that templates
// read it under, as in transformers.
func Read(messages, tools any) (Conversation, error) {
	var c Conversation
	list, err := listOf(messages, "the messages")
	if err != nil {
		return c, err
	}
	if list == nil || len(list.Items) == 0 {
		return c, fmt.Errorf("no messages")
	}
	for i, v := range list.Items {
		m, err := message(v)
		if err != nil {
			return c, fmt.Errorf("message %d: %w", i+1, err)
		}
		c.Messages = append(c.Messages, m)
	}
	if c.Tools, err = listOf(tools, "the tools"); err != nil {
		return c, err
	}
	if c.Tools != nil && len(c.Tools.Items) == 0 {
		c.Tools = nil
	}
	return c, nil
}

// ReadJSON is Read of JSON; empty tools are none.
func ReadJSON(messages, tools []byte) (Conversation, error) {
	m, err := jinja.FromJSON(messages)
	if err != nil {
		return Conversation{}, fmt.Errorf("the messages are not JSON: %w", err)
	}
	if len(tools) == 0 {
		return Read(m, nil)
	}
	t, err := jinja.FromJSON(tools)
	if err != nil {
		return Conversation{}, fmt.Errorf("the tools are not JSON: %w", err)
	}
	return Read(m, t)
}

// Turns is the conversation of roles and what they say, in turn: "user", "Hi", "assistant", "Hello".
func Turns(said ...string) Conversation {
	var c Conversation
	for turn := range slices.Chunk(said, 2) {
		m := jinja.NewDict()
		m.Set("role", turn[0])
		m.Set("content", turn[1])
		c.Messages = append(c.Messages, m)
	}
	return c
}

// listOf is a list, or one in a string; nil stays nil.
func listOf(v any, what string) (*jinja.List, error) {
	if s, ok := v.(string); ok && s != "" {
		parsed, err := jinja.FromJSON([]byte(s))
		if err != nil {
			return nil, fmt.Errorf("%s are a string that is not JSON: %w", what, err)
		}
		v = parsed
	} else if ok {
		return nil, nil
	}
	switch x := v.(type) {
	case nil:
		return nil, nil
	case *jinja.List:
		return x, nil
	}
	return nil, fmt.Errorf("%s are not a list", what)
}

// shareGPT are ShareGPT's names of the roles.
var shareGPT = map[string]string{
	"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "assistant": "assistant", "model": "assistant",
	"system": "system", "tool": "tool", "observation": "tool",
}

// message makes one message alike.
func message(v any) (*jinja.Dict, error) {
	d, ok := v.(*jinja.Dict)
	if !ok {
		return nil, fmt.Errorf(`is no object: one is like {"role": "user", "content": "..."}`)
	}
	out := jinja.NewDict()
	if from, ok := d.Get("from"); ok {
		role, known := shareGPT[fmt.Sprint(from)]
		if !known {
			return nil, fmt.Errorf("is from %q: ShareGPT's are human, gpt, system and tool", fmt.Sprint(from))
		}
		value, ok := d.Get("value")
		if !ok {
			return nil, fmt.Errorf(`has "from" but no "value"`)
		}
		out.Set("role", role)
		out.Set("content", value)
		return out, nil
	}
	if role, ok := d.Get("role"); !ok || !isText(role) {
		return nil, fmt.Errorf(`has no "role"`)
	}
	reasoning := any(nil)
	for _, name := range slices.Backward(reasoningFields) {
		if v, ok := d.Get(name); ok && v != nil {
			reasoning = v
		}
	}
	if reasoning != nil {
		out.Set("thinking", reasoning)
	}
	for key, v := range d.All() {
		switch {
		case v == nil && key != "content":
			continue
		case key == "tool_calls":
			v = toolCalls(v)
		}
		out.Set(key, v)
	}
	if reasoning != nil {
		out.Set("reasoning_content", reasoning)
	}
	return out, nil
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok
}

// toolCalls reads the arguments of calls that came as JSON in a string; what is not a list of calls stays as it is.
func toolCalls(v any) any {
	list, ok := v.(*jinja.List)
	if !ok {
		return v
	}
	out := &jinja.List{}
	for _, call := range list.Items {
		out.Items = append(out.Items, withObject(call))
	}
	return out
}

// withObject reads "arguments", here or below "function".
func withObject(v any) any {
	d, ok := v.(*jinja.Dict)
	if !ok {
		return v
	}
	out := jinja.NewDict()
	for key, v := range d.All() {
		switch key {
		case "function":
			v = withObject(v)
		case "arguments":
			if s, ok := v.(string); ok {
				if parsed, err := jinja.FromJSON([]byte(s)); err == nil {
					if object, ok := parsed.(*jinja.Dict); ok {
						v = object
					}
				}
			}
		}
		out.Set(key, v)
	}
	return out
}
