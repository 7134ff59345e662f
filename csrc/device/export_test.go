package device

// The programs of streams, which tests run on a CPU.
var (
	RoomSource    = roomSource
	PublishSource = publishSource
)

// AllocatorMemory is what the device's allocator counts, or why it does not.
func (c *Client) AllocatorMemory() (Memory, error) {
	inUse, peak, limit, err := c.plugin.DeviceMemory(c.device)
	return Memory{inUse, peak, limit}, err
}

// RegisterStreams makes what they call known.
func (c *Client) RegisterStreams() error { return c.plugin.RegisterStreams(c.platform) }
