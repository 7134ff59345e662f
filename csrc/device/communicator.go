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

// takeTurn waits for the last program with collectives, so that one goroutine's programs meet their collectives in the
// order in which it queues them, as all parts do. XLA's CPU threads take programs that need nothing of each other in any
// order (the first program of a micro-batch and the last of the one before); on a GPU its stream keeps them in order.
func (c *Client) takeTurn() error {
	last := c.turn
	if !last.Valid() {
		return nil
	}
	c.turn = csrc.Event{}
	return c.finish(last, "the program with collectives before")
}
