package data

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ChoiceExample is a multiple-choice question: which of the choices goes on the query?
type ChoiceExample struct {
	Query   string
	Choices []string // at least two
	Gold    int      // index of the right one
	Origin  string   // file:line
}

// HellaSwag reads HellaSwag's examples in the formats and places that SQuAD reads, prepared as lm-eval does.
func HellaSwag(path, split string, limit int) ([]ChoiceExample, error) {
	return choices(path, split, limit, hellaSwagOf)
}

// MultipleChoice reads examples with the fields query (or prompt), choices, and gold, the index of the right choice.
func MultipleChoice(path, split string, limit int) ([]ChoiceExample, error) {
	return choices(path, split, limit, choiceOf)
}

func choices(path, split string, limit int, read func(string, record) (ChoiceExample, error)) ([]ChoiceExample, error) {
	c := collector[ChoiceExample]{limit: limit, make: read}
	if err := visitFiles(path, split, c.visit); err != nil {
		return nil, err
	}
	if err := report(c.faults); err != nil {
		return nil, err
	}
	if len(c.out) == 0 {
		return nil, fmt.Errorf("data: %s holds no examples", path)
	}
	return c.out, nil
}

// choiceReader takes fields out of a record and keeps what is wrong.
type choiceReader struct {
	record
	absent []string
	faults []error
}

// first is the first of the fields that is there.
func (r *choiceReader) first(fields ...string) string {
	for _, f := range fields {
		s, ok, err := r.text(f)
		if err != nil {
			r.faults = append(r.faults, err)
			return ""
		}
		if ok {
			return s
		}
	}
	r.absent = append(r.absent, strings.Join(fields, " or "))
	return ""
}

// example checks and joins.
func (r *choiceReader) example(origin, query, list, gold string) (ChoiceExample, error) {
	e := ChoiceExample{Origin: origin, Query: query}
	var ok bool
	var err error
	if e.Choices, ok, err = r.texts(list); err != nil {
		r.faults = append(r.faults, err)
	} else if !ok {
		r.absent = append(r.absent, list)
	}
	if r.absent != nil {
		return e, missing(r.record, r.absent, "a multiple-choice example needs them")
	}
	if e.Gold, err = strconv.Atoi(gold); err != nil || e.Gold < 0 || e.Gold >= len(e.Choices) || len(e.Choices) < 2 {
		r.faults = append(r.faults, fmt.Errorf("the right choice is %q of %d: want an index from 0, and at least two choices", gold, len(e.Choices)))
	}
	return e, errors.Join(r.faults...)
}

func choiceOf(origin string, rec record) (ChoiceExample, error) {
	r := &choiceReader{record: rec}
	query, gold := r.first("query", "prompt"), r.first("gold")
	return r.example(origin, query, "choices", gold)
}

func hellaSwagOf(origin string, rec record) (ChoiceExample, error) {
	r := &choiceReader{record: rec}
	activity, a, b, gold := r.first("activity_label"), r.first("ctx_a"), r.first("ctx_b"), r.first("label")
	e, err := r.example(origin, hellaSwagText(activity+": "+a+" "+capitalize(b)), "endings", gold)
	for i, c := range e.Choices {
		e.Choices[i] = hellaSwagText(c)
	}
	return e, err
}

var brackets = regexp.MustCompile(`\[.*?\]`)

// hellaSwagText drops what WikiHow's markup left behind, step by step as lm-eval's tasks/hellaswag/utils.py does.
func hellaSwagText(s string) string {
	s = strings.TrimSpace(s)
	s = strings.ReplaceAll(s, " [title]", ". ")
	s = brackets.ReplaceAllString(s, "")
	return strings.ReplaceAll(s, "  ", " ")
}

// capitalize is Python's: the first letter in title case, the others in lower case.
func capitalize(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToTitle(first)) + strings.ToLower(s[n:])
}
