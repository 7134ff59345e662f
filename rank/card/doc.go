// Package card decides what of a run is published, and writes the model card that goes with it.
//
// It owns the list of files (never optimizer state, never what only gorun needs to resume), the card's front matter and
// its text. It does not talk to the Hub: cmd/gorun hands its result to model/hub.
package card
