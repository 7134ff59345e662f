// Package launcher is the agent: it starts the ranks of this machine as processes (agent.go, process.go), listens to
// what they report (events.go), and says how the run ended (report.go). What is decided when is in launcher/rdzv, which
// knows of several nodes; this agent is its only one. It computes nothing and knows no model. cmd/gorun calls it.
package launcher
