package gossip

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"unicode"

	"github.com/hashicorp/memberlist"

	"gorun/launcher/rdzv"
)

// Info is what a node tells the others of itself, beside its address.
type Info struct {
	Version  string `json:"v"` // gorun's: all nodes must have the same
	Nodes    string `json:"n"` // --nnodes, MIN:MAX: all nodes must be told the same
	Slots    int    `json:"s"` // ranks that it runs
	NodeRank int    `json:"r"` // --node-rank; -1 = any
	Files    int    `json:"f"` // port where it gives files to other nodes; 0 = nowhere
}

// Limits of what is believed of another node.
const (
	maxVersion  = 128
	maxNodes    = 32
	maxName     = 128
	maxSlots    = 4096
	maxNodeRank = 1 << 20
	maxPort     = 1<<16 - 1
)

// encode returns the bytes that memberlist spreads: at most memberlist.MetaMaxSize, 512.
func (i Info) encode() ([]byte, error) {
	b, err := json.Marshal(i)
	if err == nil && len(b) > memberlist.MetaMaxSize {
		err = fmt.Errorf("%d bytes are more than the %d that nodes tell of themselves", len(b), memberlist.MetaMaxSize)
	}
	if err == nil {
		_, err = parseInfo(b)
	}
	if err != nil {
		return nil, fmt.Errorf("gorun's version %q and --nnodes %q: %w", i.Version, i.Nodes, err)
	}
	return b, nil
}

// errInfo says that a node's own words can't be read.
var errInfo = errors.New("it is no gorun agent, or one of a very different version")

// parseInfo reads what another node tells of itself.
func parseInfo(b []byte) (Info, error) {
	var i Info
	if len(b) > memberlist.MetaMaxSize || json.Unmarshal(b, &i) != nil {
		return Info{}, errInfo
	}
	if !printable(i.Version, maxVersion) || !printable(i.Nodes, maxNodes) ||
		i.Slots < 1 || i.Slots > maxSlots || i.NodeRank < -1 || i.NodeRank > maxNodeRank || i.Files < 0 || i.Files > maxPort {
		return Info{}, errInfo
	}
	return i, nil
}

// printable tells whether a text of another node may go into a line of a log.
func printable(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func (i Info) member(name, addr string) rdzv.Member {
	return rdzv.Member{ID: name, Addr: addr, Slots: i.Slots, NodeRank: i.NodeRank, Files: i.Files}
}

// parseNode checks all that is known of another node.
func parseNode(n *memberlist.Node) (Info, rdzv.Member, error) {
	info, err := parseInfo(n.Meta)
	if err != nil {
		return info, rdzv.Member{}, err
	}
	if !printable(n.Name, maxName) || len(n.Addr) != net.IPv4len && len(n.Addr) != net.IPv6len || n.Port == 0 {
		return info, rdzv.Member{}, errInfo
	}
	return info, info.member(n.Name, n.Addr.String()), nil
}

// nodeName is unique in the job, also when an agent starts again on the same machine.
func nodeName(host, suffix string) string {
	if len(host) > maxName-1-len(suffix) || !printable(host, maxName) {
		host = "node"
	}
	return host + "-" + suffix
}
