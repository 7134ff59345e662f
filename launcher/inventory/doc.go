// Package inventory says which NVIDIA GPUs this node has (nvml.go), which of them CUDA_VISIBLE_DEVICES leaves
// (visible.go), how well they are (health.go), and which CPUs are near them (cpus.go). It asks NVML, which makes no CUDA
// context: an agent may use it. It starts nothing and changes no setting. cmd/gorun and launcher/doctor call it.
package inventory
