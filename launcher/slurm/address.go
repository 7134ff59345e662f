package slurm

import "net"

// Address is this node's address in the network by which the cluster knows it: what its name stands for, if that is an
// address of this machine. It is "" if the name leads elsewhere or to loopback, as some systems have it.
func (s *Step) Address() string {
	named, err := net.LookupIP(s.Node())
	if err != nil {
		return ""
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, ip := range named {
		for _, a := range own {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) && !ip.IsLoopback() {
				return ip.String()
			}
		}
	}
	return ""
}
