package doctor

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// network lists the interfaces, finds the address that other nodes would use unless it is given, and tries to listen
// there.
func (f *Facts) network(address string) {
	interfaces, err := net.Interfaces()
	if err != nil {
		f.PortErr = err.Error()
		return
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		one := Interface{Name: i.Name, MTU: i.MTU, Mbit: speed(i.Name)}
		addresses, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLinkLocalUnicast() {
				one.Addresses = append(one.Addresses, ip.IP.String())
			}
		}
		if len(one.Addresses) > 0 {
			f.Interfaces = append(f.Interfaces, one)
		}
	}
	if f.Address = address; address == "" {
		f.Address = outward()
	}
	if f.Address == "" && len(f.Interfaces) > 0 {
		f.Address = f.Interfaces[0].Addresses[0]
	}
	l, err := net.Listen("tcp", net.JoinHostPort(f.Address, "0"))
	if err != nil {
		f.PortErr = err.Error()
		return
	}
	_ = l.Close() // it never had a connection
}

// outward is this machine's address in the network of its default route; nothing is sent.
func outward() string {
	const nowhere = "192.0.2.1" // of a network that does not exist (RFC 5737)
	c, err := net.Dial("udp", net.JoinHostPort(nowhere, "9"))
	if err != nil {
		return ""
	}
	defer c.Close() //nolint:errcheck // nothing was sent
	ip := c.LocalAddr().(*net.UDPAddr).IP
	if ip.IsUnspecified() {
		return ""
	}
	return ip.String()
}

// speed is that of an interface's link, in Mbit/s; 0 if the kernel does not know, as for virtual ones.
func speed(name string) int {
	b, err := os.ReadFile(filepath.Join("/sys/class/net", name, "speed"))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// chosen is the interface that has the node's address.
func (f *Facts) chosen() *Interface {
	for i := range f.Interfaces {
		for _, a := range f.Interfaces[i].Addresses {
			if a == f.Address {
				return &f.Interfaces[i]
			}
		}
	}
	return nil
}
