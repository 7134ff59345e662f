package kernels

import (
	_ "embed"
	"math/bits"
)

//go:embed cached.cu
var cachedText string

//go:embed joined.cu
var joinedText string

// Cached is the attention of one query of each of Rows texts over the keys and values so far, among which it stores its
// own.
type Cached struct {
	Rows             int
	Heads, KV, Width int // query heads, key and value heads, numbers of a head
	Turned           int // numbers of a head that are turned; 0 = none
	Capacity         int // places of the cache
	Window           int // keys up to the query's own; 0 = all
	Scale            float64
}

const (
	cachedThreads = 128
	cachedDeep    = 4
	cachedBlocks  = 256 // that a GPU has work with
	cachedKeys    = 64  // fewer are not worth a block
)

// Fits tells whether there are kernels for the sizes.
func (c Cached) Fits() bool {
	lanes := c.Width / 8
	return c.Rows > 0 && c.Width%8 == 0 && lanes >= 1 && lanes <= 32 && bits.OnesCount(uint(lanes)) == 1 &&
		c.Turned%16 == 0 && c.Turned <= c.Width && c.KV > 0 && c.Heads%c.KV == 0 && c.Heads/c.KV <= 8 && c.shared() <= mostShared
}

// splits is into how many runs the keys of a text are cut: enough to fill a GPU.
func (c Cached) splits() int {
	return max(1, min(cachedBlocks/(c.Rows*c.KV), c.Capacity/cachedKeys))
}

// Parts is the shape of what Call gives for Joined: [Rows*KV, runs of keys, query heads of a key head, Width+2].
func (c Cached) Parts() [4]int {
	return [4]int{c.Rows * c.KV, c.splits(), c.Heads / c.KV, c.Width + 2}
}

func (c Cached) shared() int {
	keys := cachedThreads / 32 * 32 / (c.Width / 8)
	return keys * c.Heads / c.KV * (c.Width + 2) * 4
}

func (c Cached) constants() map[string]any {
	return map[string]any{
		"HEADS": c.Heads, "KV": c.KV, "E": c.Width, "ROT": c.Turned, "CAPACITY": c.Capacity, "WINDOW": c.Window,
		"SCALE": number(c.Scale), "SPLITS": c.splits(), "DEEP": cachedDeep, "THREADS": cachedThreads, "BLOCKS": 2,
	}
}

// Call takes q, k and v [Rows,(Heads+2*KV)*Width], with their bias, cosine and sine [Rows,Turned/2] float32, the places of
// the queries [Rows] int32, keys and values [Rows,KV,Capacity,Width]; it gives keys and values, in their memory, and the
// parts of the result (Parts) float32. The rest is bfloat16.
func (c Cached) Call() Call {
	return Call{Name: "cached", Text: define(rowText+cachedText, c.constants()), Grid: [2]int{c.Rows * c.KV, c.splits()}, Threads: cachedThreads, Shared: c.shared()}
}

// Joined takes the parts and gives the result [Rows,Heads*Width] in bfloat16.
func (c Cached) Joined() Call {
	threads := (c.Width + 31) / 32 * 32
	constants := map[string]any{"G": c.Heads / c.KV, "E": c.Width, "SPLITS": c.splits(), "THREADS": threads, "BLOCKS": 8}
	return Call{Name: "joined", Text: define(joinedText, constants), Grid: [2]int{c.Rows * c.Heads, 1}, Threads: threads}
}
