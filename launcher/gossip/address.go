package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// DefaultPort is where agents meet if an endpoint names none: torchrun's.
const DefaultPort = 29400

// resolveTimeout bounds one question to the name service.
const resolveTimeout = 5 * time.Second

// splitEndpoint reads HOST:PORT.
func splitEndpoint(endpoint string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(endpoint)
	if err != nil {
		return "", 0, fmt.Errorf("endpoint %q: %w", endpoint, err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("endpoint %q: want HOST:PORT, with a port from 1 to 65535", endpoint)
	}
	return host, int(n), nil
}

// resolve returns the addresses of a host. A machine whose own name means a loopback address, as Debian sets it up, is
// meant by the one that others know.
func resolve(host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for i, addr := range addrs {
		addrs[i] = addr.Unmap()
		if other, ok := outside(); ok && addrs[i].IsLoopback() && host != "localhost" {
			addrs[i] = other
		}
	}
	return addrs, nil
}

// lookUp returns where an endpoint is.
func lookUp(endpoint string) ([]netip.AddrPort, error) {
	host, port, err := splitEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	addrs, err := resolve(host)
	if err != nil {
		return nil, err
	}
	out := make([]netip.AddrPort, len(addrs))
	for i, addr := range addrs {
		out[i] = netip.AddrPortFrom(addr, uint16(port))
	}
	return out, nil
}

// ownAddr is the address by which the others reach this node: the given one, or the one that packets from here to an
// endpoint carry.
func ownAddr(given string, endpoints []string) (netip.Addr, error) {
	if given != "" {
		addrs, err := resolve(given)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("--local-addr %s: %w", given, err)
		}
		return addrs[0], nil
	}
	last := errors.New("none is given")
	for _, endpoint := range endpoints {
		ats, err := lookUp(endpoint)
		if err != nil {
			last = err
			continue
		}
		addr, err := towards(ats[0])
		if err == nil {
			return addr, nil
		}
		last = err
	}
	return netip.Addr{}, fmt.Errorf("no way from this machine to --rdzv-endpoint: %w; correct it, or give this machine's address with --local-addr", last)
}

// towards is the source address of packets to at; none is sent.
func towards(at netip.AddrPort) (netip.Addr, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// outside is an address of this machine that is not loopback.
func outside() (netip.Addr, bool) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, false
	}
	for _, n := range nets {
		if prefix, err := netip.ParsePrefix(n.String()); err == nil && prefix.Addr().IsGlobalUnicast() {
			return prefix.Addr().Unmap(), true
		}
	}
	return netip.Addr{}, false
}
