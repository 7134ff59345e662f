// Package hlo writes StableHLO programs: short names over go-xla's stablehlo builder, in the few operations that a
// decoder needs, with gorun's dtype rule (products of any dtype accumulate and come out in float32).
//
// A wrong shape while a program is written is a bug of ours, so the operations panic and Build turns the panic into an
// error that names the program. The package knows neither models nor devices beyond the Source it returns; only model
// and model/infer write programs.
package hlo
