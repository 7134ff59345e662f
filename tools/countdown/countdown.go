// Package countdown interrupts work at every place where it asks whether to go on, for tests.
package countdown

import "context"

// Context is a context that is cancelled once Err has been asked Left times. It is for one goroutine.
type Context struct {
	context.Context
	Left int
}

// Err implements context.Context.
func (c *Context) Err() error {
	if c.Left--; c.Left < 0 {
		return context.Canceled
	}
	return nil
}
