package spec

import "math"

// InvFreq gives the Dim/2 inverse frequencies for a sequence of seqLen positions, and the factor that
// multiplies both cos and sin. Only "dynamic" and "longrope" depend on seqLen. Every operation rounds to
// float32 where transformers (modeling_rope_utils.py) computes in float32, so that angles at large
// positions agree. Call it on a Rope that Parse, FromGGUF or SetRopeFactors accepted.
func (r Rope) InvFreq(seqLen int) (inv []float32, scale float32) {
	switch r.Kind {
	case "linear":
		inv = r.inverse(r.Theta)
		for i := range inv {
			inv[i] /= float32(r.Factor)
		}
	case "dynamic":
		inv = r.inverse(r.dynamicTheta(seqLen))
	case "llama3":
		inv = r.llama3()
	case "yarn":
		inv = r.yarn()
	case "longrope":
		factors := r.ShortFactor
		if seqLen > r.OriginalMaxPositions {
			factors = r.LongFactor
		}
		inv = r.powers(r.Theta)
		for i := range inv {
			inv[i] = 1 / (float32(factors[i]) * inv[i])
		}
	case "factors":
		inv = r.inverse(r.Theta)
		for i := range inv {
			inv[i] /= float32(r.ShortFactor[i])
		}
	default:
		inv = r.inverse(r.Theta)
	}
	return inv, float32(r.attention())
}

// powers is theta^(2i/Dim).
func (r Rope) powers(theta float64) []float32 {
	pow := make([]float32, r.Dim/2)
	base := float64(float32(theta))
	for i := range pow {
		exponent := float32(2*i) / float32(r.Dim)
		pow[i] = float32(math.Pow(base, float64(exponent)))
	}
	return pow
}

// inverse is theta^(-2i/Dim).
func (r Rope) inverse(theta float64) []float32 {
	inv := r.powers(theta)
	for i := range inv {
		inv[i] = 1 / inv[i]
	}
	return inv
}

// dynamicTheta grows theta with the sequence beyond the trained length (NTK scaling).
func (r Rope) dynamicTheta(seqLen int) float64 {
	trained := float64(r.OriginalMaxPositions)
	length := max(float64(seqLen), trained)
	dim := float64(r.Dim)
	return r.Theta * math.Pow(r.Factor*length/trained-(r.Factor-1), dim/(dim-2))
}

// llama3 keeps short wavelengths, divides long ones by Factor and blends between.
func (r Rope) llama3() []float32 {
	inv := r.inverse(r.Theta)
	trained := float64(r.OriginalMaxPositions)
	longest, shortest := float32(trained/r.LowFreqFactor), float32(trained/r.HighFreqFactor)
	low, factor, width := float32(r.LowFreqFactor), float32(r.Factor), float32(r.HighFreqFactor-r.LowFreqFactor)
	for i, f := range inv {
		wavelength := float32(2*math.Pi) / f
		switch {
		case wavelength < shortest:
		case wavelength > longest:
			inv[i] = f / factor
		default:
			smooth := (float32(trained)/wavelength - low) / width
			scaled := (1 - smooth) * f / factor
			kept := float32(smooth * f) // the conversion keeps the compiler from fusing
			inv[i] = scaled + kept
		}
	}
	return inv
}

// yarn interpolates long wavelengths, keeps short ones, and ramps between two dimensions.
func (r Rope) yarn() []float32 {
	pow := r.powers(r.Theta)
	correction := func(rotations float64) float64 {
		return float64(r.Dim) * math.Log(float64(r.OriginalMaxPositions)/(rotations*2*math.Pi)) / (2 * math.Log(r.Theta))
	}
	low, high := correction(r.BetaFast), correction(r.BetaSlow)
	if !r.NoTruncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(r.Dim-1))
	if low == high {
		high += 0.001
	}
	inv := make([]float32, len(pow))
	for i, p := range pow {
		ramp := (float32(i) - float32(low)) / float32(high-low)
		keep := 1 - min(max(ramp, 0), 1)
		interpolated := float32((1 / float32(float32(r.Factor)*p)) * (1 - keep))
		kept := float32((1 / p) * keep)
		inv[i] = interpolated + kept
	}
	return inv
}

// attention is the explicit attention factor, or the one derived from Factor.
func (r Rope) attention() float64 {
	switch {
	case r.Kind != "yarn" && r.Kind != "longrope":
		return 1
	case r.AttentionFactor != 0:
		return r.AttentionFactor
	case r.Kind == "yarn":
		return yarnScale(r.Factor, 1)
	case r.Factor <= 1:
		return 1
	default:
		return math.Sqrt(1 + math.Log(r.Factor)/math.Log(float64(r.OriginalMaxPositions)))
	}
}
