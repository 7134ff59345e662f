package plugins

import "path"

// cudaPlugin is JAX's CUDA 13 plugin with the libraries that it finds by its RPATH ($ORIGIN/../../nvidia/...), all in
// one folder. The versions are CUDA 13.0's, which the oldest driver for CUDA 13 (R580) runs; they ran together on an
// H200. The list is what JAX's own "with-cuda" set asks for.
var cudaPlugin = item{
	name: CUDA, setup: "gorun setup --cuda",
	file: "jax_plugins/xla_cuda13/" + pjrtCUDA,
	wheels: []wheel{
		{"jax-cuda13-pjrt", "0.11.2", "e5ff589d43064913bb74027682d89639c7ea48f9f81c2bae6fc75117e913f93e", 128, []string{"jax_plugins/xla_cuda13/*.so"}},
		{"nvidia-cublas", "13.1.0.3", "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171", 0, cudaLibs},
		{"nvidia-cuda-cupti", "13.0.85", "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8", 0, cudaLibs},
		{"nvidia-cuda-nvcc", "13.0.88", "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03", 36, []string{cudaRoot + "bin/ptxas", cudaRoot + "bin/nvlink"}},
		{"nvidia-cuda-nvrtc", "13.0.88", "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575", 0, cudaLibs},
		{"nvidia-cuda-runtime", "13.0.96", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548", 0, cudaLibs},
		{"nvidia-cudnn-cu13", "9.19.0.56", "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf", 0, libsOf("cudnn")},
		{"nvidia-cufft", "12.0.0.61", "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3", 0, cudaLibs},
		{"nvidia-cusolver", "12.0.4.66", "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112", 0, cudaLibs},
		{"nvidia-cusparse", "12.6.3.3", "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b", 0, cudaLibs},
		{"nvidia-nccl-cu13", "2.28.9", "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42", 0, libsOf("nccl")},
		{"nvidia-nvjitlink", "13.0.88", "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b", 0, cudaLibs},
		{"nvidia-nvshmem-cu13", "3.4.5", "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80", 0, libsOf("nvshmem")},
		{"nvidia-nvvm", "13.0.88", "c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0", 59, []string{cudaRoot + "lib/*.so*", cudaRoot + "nvvm/libdevice/*.bc"}},
	},
}

var cudaLibs = libsOf(path.Base(cudaRoot))

// libsOf keeps the shared libraries of one of NVIDIA's wheels, and not its headers and static libraries.
func libsOf(dir string) []string { return []string{"nvidia/" + dir + "/lib/*.so*"} }
