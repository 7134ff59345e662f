package spec

const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
)

// noRopeLayers reads SmolLM3's no_rope_layers (1 = rotary, 0 = none; at least one entry a layer) or
// derives it from no_rope_layer_interval. nil = rotary everywhere.
func noRopeLayers(f fields, fam family, layers int) []bool {
	if !fam.noRope {
		return nil
	}
	without := make([]bool, layers)
	if f.has("no_rope_layers") {
		flags := f.ints("no_rope_layers", nil)
		if len(flags) < layers {
			f.fail("no_rope_layers", "has %d entries, num_hidden_layers is %d", len(flags), layers)
			return nil
		}
		for i := range without {
			without[i] = flags[i] == 0
		}
		return nilIfAll(without, false)
	}
	interval := f.int("no_rope_layer_interval", 4)
	if interval < 1 {
		f.fail("no_rope_layer_interval", "is %d, must be at least 1", interval)
		return nil
	}
	for i := range without {
		without[i] = (i+1)%interval == 0
	}
	return nilIfAll(without, false)
}

// windowLayers gives, per layer, how many keys a query sees, itself included; 0 = all; nil = all full.
// transformers masks key j for query i unless j > i - sliding_window, so the count is sliding_window.
func windowLayers(f fields, fam family, d *Decoder) []int {
	window := fam.window
	if f.present("sliding_window") {
		window = f.int("sliding_window", 0) // null = none
	}
	explicit := f.has("sliding_window")
	use := true
	switch fam.windows {
	case windowNever:
		return nil
	case windowAll, windowTypes:
	case windowUpper, windowSwitch, windowNoPE:
		use = f.bool("use_sliding_window", false)
	}
	if use && explicit && window <= 0 {
		f.fail("sliding_window", "is %d, must be positive, or null for full attention", window)
		return nil
	}
	if !use {
		window = 0
	}
	slides, ok := slidingLayers(f, fam, d, window > 0)
	if !ok {
		return nil
	}
	windows := make([]int, d.Layers)
	for i := range windows {
		if slides[i] {
			windows[i] = window
		}
	}
	return nilIfAll(windows, 0)
}

// slidingLayers says which layers slide, from layer_types when it is there, else by the family's rule.
func slidingLayers(f fields, fam family, d *Decoder, active bool) ([]bool, bool) {
	slides := make([]bool, d.Layers)
	firstUpper := 0
	if fam.windows == windowUpper {
		firstUpper = f.int("max_window_layers", 28)
	}
	every := fam.windowEvery
	if fam.windowEveryKey != "" {
		every = f.int(fam.windowEveryKey, every)
	}
	if fam.windows == windowTypes && every < 1 {
		f.fail(fam.windowEveryKey, "is %d, must be at least 1", every)
		return nil, false
	}
	for i := range slides {
		switch fam.windows {
		case windowNever:
		case windowAll, windowSwitch:
			slides[i] = active
		case windowUpper:
			slides[i] = active && i >= firstUpper
		case windowNoPE:
			slides[i] = active && d.NoRope != nil && d.NoRope[i]
		case windowTypes:
			slides[i] = active && (i+1)%every != 0
		}
	}
	if !f.has("layer_types") {
		return slides, true
	}
	types := f.strings("layer_types")
	if len(types) != d.Layers {
		f.fail("layer_types", "has %d entries, num_hidden_layers is %d", len(types), d.Layers)
		return nil, false
	}
	for i, kind := range types {
		sliding := kind == slidingAttention
		if !sliding && kind != fullAttention && kind != "attention" {
			f.fail("layer_types", "entry %d is %q; supported: %s, %s", i, kind, fullAttention, slidingAttention)
			return nil, false
		}
		switch {
		case sliding && !active:
			f.fail("layer_types", "layer %d is %s, but no window is set (sliding_window, use_sliding_window)", i, slidingAttention)
			return nil, false
		case fam.windows == windowAll && sliding != slides[i]:
			f.fail("layer_types", "layer %d is %s, but a %s model has sliding_window on every layer", i, kind, fam.name)
			return nil, false
		}
		slides[i] = sliding
	}
	return slides, true
}

// nilIfAll gives nil for a list in which every value is v.
func nilIfAll[T comparable](list []T, v T) []T {
	for _, x := range list {
		if x != v {
			return list
		}
	}
	return nil
}
