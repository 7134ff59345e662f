package kernels

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Call is one kernel, compiled for its sizes, and how it is launched.
type Call struct {
	Name    string // of the function
	Text    string // its source: constants, then the kernel; without the primitives that it stands on
	Grid    [2]int // blocks
	Threads int    // of a block, a multiple of 32
	Shared  int    // dynamic shared memory of a block, bytes
}

//go:embed warp.cuh
var warp string

//go:embed emulator.cuh
var emulator string

// Source is the text to compile for a GPU.
func (c Call) Source() string { return warp + c.Text }

// Emulated is the text to compile, as C++, for the CPU: a library whose function gorun_emulate takes an array of the
// parameters and runs the whole grid.
func (c Call) Emulated() string {
	return fmt.Sprintf("%s%s\nEMULATE(%s, %d, %d, %d, %d)\n", emulator, c.Text, c.Name, c.Grid[0], c.Grid[1], c.Threads, c.Shared)
}

// ID names the call in programs: a number made of everything that the call depends on.
func (c Call) ID() int64 {
	sum := sha256.Sum256([]byte(c.Emulated() + warp))
	return int64(binary.LittleEndian.Uint64(sum[:]) >> 1) // not negative: attributes of programs are signed
}

// Options are what the compiler is told besides the architecture.
func Options() []string { return []string{"--std=c++17", "--extra-device-vectorization"} }

// define puts constants, in the order of their names, before a kernel's text.
func define(text string, constants map[string]any) string {
	names := make([]string, 0, len(constants))
	for n := range constants {
		names = append(names, n)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "#define %s %v\n", n, constants[n])
	}
	return b.String() + text
}

// number is a constant of C that is the float32 nearest to v.
func number(v float64) string { return fmt.Sprintf("%.8ef", float32(v)) }
