package device

import (
	"fmt"

	"gorun/csrc"
)

// Communicate makes a communicator known to this device's programs, whose collectives name it by the number returned,
// and release forgets it. It comes before any program with collectives is compiled or loaded. comm is a
// csrc.Communicator on the CPU and a csrc.StreamCommunicator on CUDA; those say what is asked of it.
func (c *Client) Communicate(comm any) (number int32, release func(), err error) {
	host, moves := comm.(csrc.Communicator)
	queued, queues := comm.(csrc.StreamCommunicator)
	if c.platform == "cpu" && !moves || c.platform != "cpu" && !queues {
		return 0, nil, fmt.Errorf("device: a %T cannot serve programs on %s", comm, c.platform)
	}
	if err := c.plugin.RegisterCollectives(c.platform); err != nil {
		return 0, nil, fmt.Errorf("device: %w", err)
	}
	if c.platform == "cpu" {
		number = csrc.RegisterCommunicator(host)
	} else {
		number = csrc.RegisterStreamCommunicator(queued)
	}
	return number, func() { csrc.UnregisterCommunicator(number) }, nil
}
