// Package hubtest is a Hugging Face Hub in memory, with a content network beside it on another port, for tests: those
// of model/hub, of the command line, and of the guide.
//
// It speaks the part of the Hub's API that model/hub and Python's huggingface_hub use: repository info, tree listings
// in pages, resolve with redirects, gated and private repositories, creation, preupload, Git LFS in one piece or in
// parts, and commits. Where a test wants a fault, it registers one (fault.go).
package hubtest
