package hlo

// Cumulate is the sum of x from the start of an axis up to each place, the place itself included. It doubles how far it
// reaches in each round, which is a few additions of whole arrays; XLA has no operation for it.
func (g *Graph) Cumulate(x Value, axis int) Value {
	n := x.Dim(axis)
	for reach := 1; reach < n; reach *= 2 {
		x = g.Add(x, g.Pad(g.Slice(x, axis, 0, n-reach), axis, reach, 0))
	}
	return x
}
