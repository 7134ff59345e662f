package gossip

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"gorun/launcher/rdzv"
)

// Config says who this node is and where the others are.
type Config struct {
	Host      string   // this machine's name; the node's adds a random part
	Run       string   // --rdzv-id, the same on all nodes; it travels in the clear
	Key       []byte   // 32 bytes, the same on all nodes
	Endpoints []string // HOST:PORT of nodes to ask for the others; one may be this node
	LocalAddr string   // this node's address; "" = the one that leads to the endpoints
	Self      Info     // but for Files
	Files     Files    // nil = this node gives no files
	Log       zerolog.Logger
}

// Files begins to give files to other nodes at an address of this one, and returns the port.
type Files func(addr netip.Addr) (port int, err error)

// Handler gets what happens, from one goroutine, in order. It may block: what comes meanwhile waits.
type Handler interface {
	Joined(m rdzv.Member)
	Lost(id string)
	Received(m rdzv.Message)
	Refused(err error) // this node can take no part in the run
}

// Net is this node's place among the agents.
type Net struct {
	cfg    Config
	self   rdzv.Member
	at     netip.AddrPort // where this node listens
	list   *memberlist.Memberlist
	events *events
	notes  *notes
	stop   chan struct{} // closed by Close
	work   sync.WaitGroup
	ending sync.Once

	mu     sync.Mutex
	peers  map[string]*peer // the live others, by node; protected by mu
	closed bool             // protected by mu
}

// Failure detection. A silent node is suspected after half a second, and dead if it has not spoken up 2.5 s later (more
// for many nodes): a machine that stalls for a second or two lives on, and one that is gone is known well within 10 s.
const (
	probeInterval  = 500 * time.Millisecond
	probeTimeout   = 300 * time.Millisecond
	suspicionMult  = 5
	streamTimeout  = 2 * time.Second
	gossipInterval = 100 * time.Millisecond
	resyncInterval = 5 * time.Second
)

// Open joins the run: it listens for other agents and, in the background, looks for them until Close.
func Open(c Config, h Handler) (*Net, error) {
	addr, err := ownAddr(c.LocalAddr, c.Endpoints)
	if err != nil {
		return nil, err
	}
	if c.Files != nil {
		if c.Self.Files, err = c.Files(addr); err != nil {
			return nil, err
		}
	}
	suffix := make([]byte, 3)
	if _, err := rand.Read(suffix); err != nil {
		return nil, fmt.Errorf("a name for this node: %w", err)
	}
	n := &Net{cfg: c, events: newEvents(h), notes: newNotes(c.Log), stop: make(chan struct{}), peers: map[string]*peer{}}
	n.self = c.Self.member(nodeName(c.Host, hex.EncodeToString(suffix)), addr.String())
	if err := n.listen(addr); err != nil {
		return nil, err
	}
	n.work.Go(n.events.run)
	n.work.Go(n.seek)
	return n, nil
}

// Self is this node as the others see it.
func (n *Net) Self() rdzv.Member { return n.self }

// listen opens memberlist on the endpoints' port, which every node uses: one rule for a firewall. Where the port is taken,
// perhaps by another agent of this machine, any other one will do, but at the endpoint itself.
func (n *Net) listen(addr netip.Addr) error {
	_, port, err := splitEndpoint(n.cfg.Endpoints[0])
	if err != nil {
		return err
	}
	taken := bindable(addr, port)
	if taken != nil && !errors.Is(taken, unix.EADDRINUSE) {
		return fmt.Errorf("listen at %s for other nodes: %w: give this machine's own address with --local-addr", netip.AddrPortFrom(addr, uint16(port)), taken)
	}
	conf, err := n.config(addr, port)
	if err != nil {
		return err
	}
	if taken != nil {
		conf.BindPort, conf.AdvertisePort = 0, 0
	}
	if n.list, err = memberlist.Create(conf); err != nil {
		return fmt.Errorf("listen at %s for other nodes: %w", netip.AddrPortFrom(addr, uint16(conf.BindPort)), err)
	}
	n.at = netip.AddrPortFrom(addr, uint16(conf.BindPort))
	meet := netip.AddrPortFrom(addr, uint16(port))
	if taken == nil || !n.expected(meet) {
		return nil
	}
	joined := n.contact(meet.String())
	if joined == nil {
		return nil // another agent of this run, on the same machine
	}
	if err := n.list.Shutdown(); err != nil {
		return err
	}
	return fmt.Errorf("port %d of this machine (%s) is taken, and not by an agent of this run that this one may join (%w): "+
		"choose a free port on all nodes with --rdzv-endpoint HOST:PORT, or compare --rdzv-id, key and version", port, addr, joined)
}

// expected tells whether others look for a node there.
func (n *Net) expected(at netip.AddrPort) bool {
	return slices.ContainsFunc(n.cfg.Endpoints, func(endpoint string) bool {
		ats, err := lookUp(endpoint)
		return err == nil && slices.Contains(ats, at)
	})
}

func (n *Net) config(addr netip.Addr, port int) (*memberlist.Config, error) {
	key, err := DeriveKey(n.cfg.Key, n.cfg.Run, "agents")
	if err != nil {
		return nil, err
	}
	m := memberlist.DefaultLANConfig()
	m.Name, m.Label, m.SecretKey = n.self.ID, n.cfg.Run, key
	m.BindAddr, m.AdvertiseAddr, m.BindPort, m.AdvertisePort = addr.String(), addr.String(), port, port
	m.ProbeInterval, m.ProbeTimeout = probeInterval, probeTimeout
	m.SuspicionMult, m.SuspicionMaxTimeoutMult = suspicionMult, 2
	m.TCPTimeout, m.GossipInterval, m.PushPullInterval = streamTimeout, gossipInterval, resyncInterval
	d := &delegate{net: n}
	if d.meta, err = n.cfg.Self.encode(); err != nil {
		return nil, err
	}
	m.Delegate, m.Events, m.Merge, m.Alive = d, d, d, d
	m.LogOutput = n.notes
	return m, nil
}

// leaveTimeout is how long Close takes to say goodbye: without it others need seconds to know.
const leaveTimeout = 300 * time.Millisecond

// Close sends what is queued, says goodbye and stops. The handler hears nothing after it.
func (n *Net) Close() { n.ending.Do(n.end) }

func (n *Net) end() {
	close(n.stop)
	n.closePeers()
	err := errors.Join(n.list.Leave(leaveTimeout), n.list.Shutdown())
	n.cfg.Log.Debug().AnErr("err", err).Msg("left the other nodes")
	n.events.close()
	n.work.Wait()
}

// bindable returns nil if this process can listen there: agents need TCP and UDP.
func bindable(addr netip.Addr, port int) error {
	at := netip.AddrPortFrom(addr, uint16(port))
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	defer tcp.Close() //nolint:errcheck // it never had a connection
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	return udp.Close()
}
