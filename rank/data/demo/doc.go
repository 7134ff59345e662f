// Package demo is the question-answering data set of the demo, built into the binary: short passages in
// English with questions whose answers are spans of the passage, in the nested JSON format of SQuAD v1.1.
//
// It owns the two files train.json and validation.json and the promise its test holds: answers are exact
// spans at answer_start (counted in code points), and no passage or question occurs in both files. It does
// not parse them; that is the SQuAD reader's task. The demo recipe and the reader's tests call it.
package demo
