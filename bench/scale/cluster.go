package main

// cluster is machines of eight GPUs, each GPU with links to the others of its machine and a network port of its own.
// Rates are of one direction, in bytes a second; times in seconds.
type cluster struct {
	node    int     // GPUs in a machine
	link    float64 // of a GPU within its machine
	port    float64 // of a GPU's port on the network
	share   float64 // of a link that a collective gets
	near    float64 // from one GPU to the next within a machine, for no bytes
	far     float64 // likewise between machines
	compute float64 // floating-point operations a second that a block's forward pass gets
	back    float64 // and that its backward pass gets
	head    float64 // and that the loss gets

	own   float64 // bytes a second at which a rank's own part of a gather by copy engines is copied: by all that computes
	meet  float64 // of computing beside it, what a collective by NCCL costs whatever its size
	takes float64 // and for each second that it moves data
}

// group is ranks that talk: n of them, of which each machine has so many. All of a machine's groups talk at once.
type group struct{ n, inNode int }

// ring is what a ring of the group takes to bring size bytes, of which each rank has one part, to all of them, or to add
// up size bytes from all of them for each to have one part.
func (c cluster) ring(g group, size float64) float64 {
	if g.n == 1 {
		return 0
	}
	rate := c.link
	crossings := 0
	if g.n > g.inNode { // as many rings as ports: a machine's ranks of the group share its links with nobody else
		rate = min(c.link, c.port*float64(g.inNode))
		crossings = g.n / g.inNode
	}
	parts := float64(g.n-1) / float64(g.n)
	return parts*size/(rate*c.share) + float64(g.n-1-min(crossings, g.n-1))*c.near + float64(min(crossings, g.n-1))*c.far
}

// allReduce is a reduce-scatter and an all-gather.
func (c cluster) allReduce(g group, size float64) float64 { return 2 * c.ring(g, size) }

// beside is what a collective by NCCL that moves data for so long costs of the computing beside it.
func (c cluster) beside(moves float64) float64 {
	if moves == 0 {
		return 0
	}
	return c.meet + c.takes*moves
}
