// Package configs holds a run as typed values: the recipe's sections, every default in one place, strict
// TOML with --set overrides, validation that reports all faults at once, the effective recipe written
// back, the reference page, and the recipes shipped inside the binary.
//
// It owns what may be asked of a run. It does not read models or data, keep schedules or start anything:
// whether a model has a module, or a device a feature, is for the packages that know it. It imports none
// of ours; the command line, rank and launcher read recipes through it.
//
// The struct tags of recipe.go are the single table of keys: toml (name), doc (one line), values (an
// enumeration), range (an interval) and default (words, where the default depends on other keys).
// Decoding, validation, writing and the reference all walk those tags.
package configs
