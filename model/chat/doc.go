// Package chat turns conversations into the text that a model was trained to read, by the model's own chat template, and
// tells which parts of the text the assistant wrote. The template language is in package jinja below.
//
// It knows nothing of tokens or data sets: rank/data calls it for training, cmd/gorun to show what it does.
package chat
