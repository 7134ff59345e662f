package netns

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Switch carries Ethernet frames between its ports. The frames are the kernel's own: what is lost here, its TCP sends
// again.
type Switch struct {
	mu    sync.Mutex
	ports []*os.File // by node; protected by mu
	loss  float64    // share of the frames that are dropped; protected by mu
	first int        // nodes below it do not reach the others; protected by mu
	work  sync.WaitGroup
}

// Lose drops this share of all frames from now on.
func (s *Switch) Lose(share float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loss = share
}

// Part cuts the nodes below first off from the others; 0 heals.
func (s *Switch) Part(first int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = first
}

// plug makes a TAP interface with this name, in this process's namespace, as the next port.
func (s *Switch) plug(name string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("interface %s: %w", name, err), unix.Close(fd))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	port, in := len(s.ports), os.NewFile(uintptr(fd), name)
	s.ports = append(s.ports, in)
	s.work.Go(func() { s.forward(port, in) })
	return nil
}

// maxFrame is Ethernet's, without jumbo frames.
const maxFrame = 1 << 11

// forward sends what comes in at a port out at all others: the nodes' interfaces drop what is not theirs.
func (s *Switch) forward(from int, in *os.File) {
	frame := make([]byte, maxFrame)
	for {
		n, err := in.Read(frame)
		if err != nil {
			return // unplugged
		}
		for _, out := range s.reached(from) {
			_, _ = out.Write(frame[:n]) // an interface that is down takes none
		}
	}
}

// reached returns the ports that a frame gets to.
func (s *Switch) reached(from int) (out []*os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for to, port := range s.ports {
		if to != from && (to < s.first) == (from < s.first) && rand.Float64() >= s.loss {
			out = append(out, port)
		}
	}
	return out
}

// unplug ends the switch and its interfaces.
func (s *Switch) unplug() (err error) {
	s.mu.Lock()
	for _, port := range s.ports {
		err = errors.Join(err, port.Close())
	}
	s.mu.Unlock()
	s.work.Wait()
	return err
}
