package demo

import _ "embed"

//go:embed train.json
var train string

//go:embed validation.json
var validation string

// Train returns the training split as SQuAD v1.1 JSON (UTF-8): one gold answer per question.
// The caller owns the returned bytes.
func Train() []byte { return []byte(train) }

// Validation returns the held-out split as SQuAD v1.1 JSON (UTF-8): one to three gold answers per
// question, the most natural one first. The caller owns the returned bytes.
func Validation() []byte { return []byte(validation) }
