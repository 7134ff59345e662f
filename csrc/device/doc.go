// Package device owns one XLA device: its client, buffers, compiled programs and events, all asynchronous.
//
// Program.Execute returns at once with buffers whose contents are still being made; an error of the device shows when
// a buffer is awaited or downloaded. Go's collector knows nothing of device memory: whoever is handed a Buffer frees
// it, and Client.LiveBuffers counts those not yet freed. Callers are model (programs), fsdp (parameters) and rank.
// The package does not know what a program computes, nor that other devices exist.
package device
