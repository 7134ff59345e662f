package weights

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/spec"
)

// sampledValues is how many values of a one-dimensional tensor enter the digest.
const sampledValues = 1 << 13

// digest identifies a base. Hashing all bytes of a large model takes minutes; a fine-tuned or differently
// quantised copy differs in nearly every row, so three rows of each tensor tell it apart. config.json
// enters as the decoder's description: an edit that changes no number does not change the base.
func digest(d *spec.Decoder, s Source) (string, error) {
	h := sha256.New()
	describe(h, d)
	for _, name := range s.Names() {
		dtype, shape, ok := s.Info(name)
		if !ok || len(shape) == 0 {
			return "", fmt.Errorf("digest: %s has no rows", name)
		}
		fmt.Fprintf(h, "%s %s %v\n", name, dtype, shape)
		width := 1
		for _, n := range shape[1:] {
			width *= n
		}
		ranges := [][2]int{{0, 1}, {shape[0] / 2, shape[0]/2 + 1}, {shape[0] - 1, shape[0]}}
		if len(shape) == 1 {
			ranges = [][2]int{{0, min(shape[0], sampledValues)}}
		}
		for _, r := range ranges {
			row := make([]byte, (r[1]-r[0])*width*dtypes.Float32.Size())
			if err := s.ReadRows(name, r[0], r[1], dtypes.Float32, row); err != nil {
				return "", fmt.Errorf("digest: %w", err)
			}
			h.Write(row)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// describe writes what of the decoder changes its output, in a form that new fields of the struct leave
// as it is.
func describe(h hash.Hash, d *spec.Decoder) {
	fmt.Fprintf(h, "base 1 %s\n%d %d %d %d %d %d %d\n", d.Family, d.Layers, d.Hidden, d.Intermediate, d.Heads, d.KVHeads, d.HeadDim, d.Vocab)
	fmt.Fprintf(h, "%g %s %t %v %v\n", d.NormEps, d.Activation, d.TiedHead, d.NoRope, d.Window)
	if own := fmt.Sprintln(d.Norms, d.NormPlusOne, d.QKNormWide, d.AttentionScale, d.AttentionCap, d.LogitCap, d.EmbedScale, d.ResidualScale, d.LogitScale); own != plainVariants {
		fmt.Fprint(h, own)
	}
	if m := d.Mixture; m != nil {
		fmt.Fprintln(h, m.Experts, m.PerToken, m.Width, m.Normalize, m.Plain)
	}
	ropes := []spec.Rope{d.Rope}
	if d.LocalRope != nil {
		ropes = append(ropes, *d.LocalRope)
	}
	for _, rope := range ropes {
		describeRope(h, rope, d.MaxPositions)
	}
}

// plainVariants is what a decoder without any of them has for its family's own ways; it is not part of the digest.
var plainVariants = fmt.Sprintln(spec.NormBefore, false, false, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

func describeRope(h hash.Hash, r spec.Rope, maxPositions int) {
	for _, seq := range []int{1, maxPositions} {
		inv, scale := r.InvFreq(seq)
		for _, x := range append(inv, scale) {
			var b [4]byte
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(x))
			h.Write(b[:])
		}
	}
}
