// Package doctor examines the machines that are to train: it collects facts about a node (gather.go and the files named
// after what they look at), judges them (judge.go), and, where several nodes share a folder, exchanges them there
// (exchange.go) and names the nodes that differ from the others (compare.go). Collecting changes nothing but files of its
// own in that folder; judging is pure. cmd/gorun calls it.
package doctor
