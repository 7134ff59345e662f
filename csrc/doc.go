// Package csrc is all the C of gorun, as thin Go functions: the PJRT C API of an XLA plugin (a shared library loaded
// at run time), and the ABI of XLA's foreign function interface. It holds no policy and no state beyond the handles it
// returns; package device gives them owners. An absent library is an error value.
package csrc
