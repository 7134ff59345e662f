package collective

import "time"

// Traffic is the time that collectives took of a device.
type Traffic struct {
	Moving  time.Duration // from where this rank had what a collective moves to where its results are there
	Exposed time.Duration // while programs waited for results, or were themselves in a collective
}

// Traffic is that of all collectives that the device has done so far.
func (f *Fabric) Traffic() (sum Traffic, err error) {
	for _, n := range f.all() {
		if err := n.look(); err != nil {
			return sum, err
		}
		waited, err := n.queue.Waited()
		if err != nil {
			return sum, err
		}
		n.waiting.Lock()
		n.traffic.Exposed += waited
		sum.Moving += n.traffic.Moving
		sum.Exposed += n.traffic.Exposed
		n.waiting.Unlock()
	}
	return sum, nil
}

// Sub is what came since an earlier sum.
func (t Traffic) Sub(earlier Traffic) Traffic {
	return Traffic{t.Moving - earlier.Moving, t.Exposed - earlier.Exposed}
}
