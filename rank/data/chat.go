package data

import (
	"encoding/json"
	"fmt"

	"gorun/configs"
	"gorun/model/chat"
)

// Chat makes samples of conversations.
type Chat struct {
	turns   *turnWriter
	columns configs.Columns
}

// NewChat makes samples by the chat template of a tokenizer; columns names the fields of messages and tools.
func NewChat(tok Tokenizer, columns configs.Columns) (*Chat, error) {
	t, err := chat.New(tok)
	if err != nil {
		return nil, err
	}
	return &Chat{&turnWriter{tok, t}, columns}, nil
}

// Encode makes a sample of one JSON object; origin is for messages.
func (c *Chat) Encode(line []byte, origin string) (Sample, error) {
	var enc encode
	err := visitLine(origin, line, func(origin string, r record, err error) error {
		if err != nil {
			return err
		}
		enc, err = c.read(origin, r)
		return err
	})
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", origin, err)
	}
	s, err := enc()
	if err != nil {
		return Sample{}, err
	}
	return s[0], nil
}

// read takes a conversation of a record. ShareGPT's field for messages is found without being named.
func (c *Chat) read(origin string, r record) (encode, error) {
	messages, ok, err := r.value(c.columns.Messages)
	if err == nil && !ok && c.columns.Messages == "messages" {
		messages, ok, err = r.value("conversations")
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, missing(r, []string{fmt.Sprintf("%q", c.columns.Messages)}, "a conversation has it: name the field that holds the messages in dataset.columns.messages")
	}
	var tools json.RawMessage
	if c.columns.Tools != "" {
		if tools, _, err = r.value(c.columns.Tools); err != nil {
			return nil, err
		}
	}
	return func() ([]Sample, error) {
		conversation, err := chat.ReadJSON(messages, tools)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", origin, err)
		}
		return c.turns.conversation(conversation, origin)
	}, nil
}
