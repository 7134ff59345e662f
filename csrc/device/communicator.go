package device

import (
	"errors"
	"fmt"

	"gorun/csrc"
)

// Communicate makes a communicator known to this device's programs, whose collectives name it by the number returned,
// and release forgets it. It comes before any program with collectives is compiled or loaded. See csrc.Communicator for
// what is asked of it; it moves host memory, so the device is the CPU.
func (c *Client) Communicate(comm csrc.Communicator) (number int32, release func(), err error) {
	if c.platform != "cpu" {
		return 0, nil, errors.New("device: a communicator of host memory is for programs on the CPU, not on " + c.platform)
	}
	if err := c.plugin.RegisterCollectives(); err != nil {
		return 0, nil, fmt.Errorf("device: %w", err)
	}
	number = csrc.RegisterCommunicator(comm)
	return number, func() { csrc.UnregisterCommunicator(number) }, nil
}
