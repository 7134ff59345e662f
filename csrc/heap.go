//go:build cgo

package csrc

// #include "heap.h"
import "C"

// KeepHeap makes the C heap of this process keep what is freed, in huge pages where the system grants them. XLA's CPU
// client allocates every result and all scratch memory of every program anew, and malloc would give blocks of that size
// back to the system each time: a step of SmolLM2-135M then spends a quarter of its time on page faults. Call it before
// the client is made.
func KeepHeap() { C.gorun_heap_keep() }

// GrowHeap asks for huge pages where the heap has grown; call it between programs.
func GrowHeap() { C.gorun_heap_huge() }
