// Package rdzv is how agents agree: on who takes part and which ranks they get (a generation), and on how it ended (a
// verdict). It is a pure state machine: no socket, no clock, no goroutine. launcher drives it, and so do the scenario
// files of testdata and the simulator of the tests. launcher/DESIGN.md says why it is made so.
package rdzv
