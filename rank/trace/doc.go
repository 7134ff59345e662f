// Package trace reads what XLA's profiler has recorded of a device and its host (an XSpace message), sums it up, and writes
// it in the form that trace viewers read. It knows no device: package csrc/device records.
package trace
