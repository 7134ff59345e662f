// Package gossip is how the agents of a run find each other and talk. memberlist tells who is here and who has died;
// messages of launcher/rdzv travel over its encrypted packets and streams. It decides nothing: launcher gives what comes
// to rdzv's core. launcher/DESIGN.md has the reasons.
//
// net.go opens and closes it, seek.go finds the first other node, admit.go says who may take part, mail.go carries
// messages, events.go hands on what happens, notes.go tells the user of strangers, address.go knows this machine's address.
package gossip
