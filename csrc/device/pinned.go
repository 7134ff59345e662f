package device

import (
	"errors"
	"fmt"

	"gorun/csrc"
)

// pinnedHost is PJRT's name of page-locked host memory, from and to which a device copies by itself.
const pinnedHost = "pinned_host"

// errNoPinned says that a device has no page-locked host memory.
var errNoPinned = errors.New("this XLA plugin has no page-locked host memory")

// UploadPinned copies a dense row-major array to page-locked host memory, for ToDevice; programs cannot read it there.
// data may be reused when it returns.
func (c *Client) UploadPinned(data []byte, shape Shape) (*Buffer, error) {
	if len(data) != shape.Bytes() {
		return nil, fmt.Errorf("device: upload %s: have %d bytes, need %d", shape, len(data), shape.Bytes())
	}
	m, err := c.memory(pinnedHost)
	if err != nil {
		return nil, err
	}
	h, err := c.plugin.Upload(c.client, c.device, m, data, int(shape.DType), dims64(shape.Dims))
	if err != nil {
		return nil, fmt.Errorf("device: %s in host memory: %w", shape, err)
	}
	b := &Buffer{client: c, handle: h, shape: shape, onHost: true}
	c.created(b.deviceBytes())
	return b, nil
}

// ToDevice queues a copy of a buffer from UploadPinned to the device. The buffer may be freed at once.
func (b *Buffer) ToDevice() (*Buffer, error) {
	m, err := b.client.memory("device")
	if err != nil {
		return nil, err
	}
	h, err := b.client.plugin.CopyTo(b.handle, m)
	if err != nil {
		return nil, fmt.Errorf("device: %s from host memory: %w", b.shape, err)
	}
	return b.client.own(h, b.shape), nil
}

// deviceBytes is what the buffer takes of the device's own memory.
func (b *Buffer) deviceBytes() int64 {
	if b.onHost {
		return 0
	}
	return int64(b.shape.Bytes())
}

// memory is the memory of a kind that the device reaches.
func (c *Client) memory(kind string) (csrc.Memory, error) {
	m, err := c.plugin.MemoryOf(c.device, kind)
	if err == nil && !m.Valid() {
		err = errNoPinned
	}
	if err != nil {
		return m, fmt.Errorf("device: %w", err)
	}
	return m, nil
}
