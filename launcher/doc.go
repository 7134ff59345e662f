// Package launcher is the agent: it meets the agents of other nodes (nodes.go), starts the ranks of this machine as
// processes (agent.go, process.go), listens to what they report (events.go), and says how the run ended (report.go). What
// is decided when is in launcher/rdzv; launcher/gossip finds the other agents. It computes nothing and knows no model.
// cmd/gorun calls it; DESIGN.md has the reasons.
package launcher
