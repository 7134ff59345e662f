package card

import (
	"bytes"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// License is how a model card names a licence.
type License struct {
	ID   string `yaml:"license,omitempty"`      // the Hub's name of it, such as llama3.2 or apache-2.0
	Name string `yaml:"license_name,omitempty"` // where ID is "other"
	Link string `yaml:"license_link,omitempty"`
}

// maxFront bounds the front matter of a stranger's card.
const maxFront = 64 << 10

// LicenseOf returns the licence that a model card names in its front matter, none if it names none.
func LicenseOf(card []byte) License {
	front, err := frontMatter(card)
	if err != nil {
		return License{}
	}
	var l License
	if err := yaml.Unmarshal(front, &l); err != nil {
		return License{} // a list of licences, for one: there is no saying which holds
	}
	return l
}

// frontMatter is the YAML between the first two lines of "---".
func frontMatter(card []byte) ([]byte, error) {
	card = bytes.ReplaceAll(card[:min(len(card), maxFront)], []byte("\r\n"), []byte("\n"))
	rest, ok := bytes.CutPrefix(bytes.TrimPrefix(card, []byte("\xef\xbb\xbf")), []byte("---\n"))
	if !ok {
		return nil, errors.New("no front matter")
	}
	front, _, ok := bytes.Cut(rest, []byte("\n---"))
	if !ok {
		return nil, errors.New("a front matter without end")
	}
	return front, nil
}

// front is the front matter of a card, in the Hub's keys.
type front struct {
	BaseModel string `yaml:"base_model,omitempty"`
	Relation  string `yaml:"base_model_relation,omitempty"`
	Library   string `yaml:"library_name"`
	Pipeline  string `yaml:"pipeline_tag"`
	License   `yaml:",inline"`
	Datasets  []string `yaml:"datasets,omitempty"`
	Tags      []string `yaml:"tags"`
}

func (f front) text() (string, error) {
	text, err := yaml.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("the card's front matter: %w", err)
	}
	return string(text), nil
}
