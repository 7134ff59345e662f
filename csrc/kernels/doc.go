// Package kernels holds gorun's own GPU kernels as CUDA C source text, and says for which sizes each is made and how it
// is launched. It compiles and runs nothing: csrc/device does, when a program that calls a kernel is compiled. The same
// text, with emulator.cuh before it instead of warp.cuh, is C++ for the CPU, which is how tests check kernels where there
// is no GPU.
//
// A kernel is compiled for one set of sizes: they are macros, so that loops unroll and bounds that always hold cost
// nothing. Its parameters are pointers alone: the operands of the custom call that launches it, then the results.
// DESIGN.md says what each kernel is worth.
package kernels
