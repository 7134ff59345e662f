// Package netns makes machines for tests of several nodes: network namespaces on one kernel, wired by a switch in the
// test's process that loses frames, and cuts nodes off, when it is told to. It needs root, iproute2 and /dev/net/tun.
// `make test-netns` runs its tests, which are the launcher's fault scenarios; docs/launcher.md has their table.
package netns
