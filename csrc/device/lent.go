package device

import "fmt"

// Lend makes a buffer of memory that is not XLA's own, from an address of this device, for streams to read: programs cannot
// take it, nor can it be downloaded. Whoever lends it keeps the contents as they are, and the memory until the buffer is
// freed, which gives nothing back.
func (c *Client) Lend(at uintptr, shape Shape) *Buffer {
	c.created(int64(shape.Bytes()))
	c.lent.Add(int64(shape.Bytes()))
	return &Buffer{client: c, shape: shape, lent: at}
}

// alive is an error if the buffer has been freed; doing is what was to be done with it.
func (b *Buffer) alive(doing string) error {
	if !b.handle.Valid() && b.lent == 0 {
		return fmt.Errorf("device: %s: %s a freed buffer", b.shape, doing)
	}
	return nil
}

// readable is an error if the buffer has been freed, or XLA does not know when its contents are there.
func (b *Buffer) readable(doing string) error {
	switch {
	case b.lent != 0:
		return fmt.Errorf("device: %s: %s a buffer that is lent, for streams alone", b.shape, doing)
	case b.home != nil:
		return fmt.Errorf("device: %s: %s a buffer that is borrowed, for programs alone", b.shape, doing)
	}
	return b.alive(doing)
}
