package csrc

import "fmt"

// Error is a failure reported by a native library.
type Error struct {
	Op   string // what was asked: "compile", "execute"
	Code int    // the library's code; for PJRT the canonical status codes (8 = resource exhausted)
	Msg  string // the library's words
}

// Codes of Error that callers tell apart (the canonical status codes).
const (
	NotFound          = 5
	ResourceExhausted = 8
	Aborted           = 10
	Unimplemented     = 12
)

func (e *Error) Error() string { return fmt.Sprintf("%s: %s (code %d)", e.Op, e.Msg, e.Code) }
