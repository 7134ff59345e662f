// Package hub is a client of the Hugging Face Hub: it fetches models and datasets into the cache that Python's
// huggingface_hub uses, and publishes what training made.
//
// It owns the Hub's HTTP API, the layout of the cache, tokens, retries, and the words in which a refusal is explained.
// It does not know what is in a file beyond the list of shards in a safetensors index; which files training needs is a
// table of names (choose.go). cmd/gorun calls it: `gorun fetch` and `gorun publish` directly, and every command that
// takes a model, an adapter or a dataset through Open. Nodes of a run give each other what one of them has: peers.go asks,
// peerserver.go answers.
//
// The cache, as huggingface_hub 2.4 keeps it (so each finds what the other fetched):
//
//	$HF_HUB_CACHE/
//	    .locks/models--ORG--NAME/ETAG.lock   flock, held while a blob is downloaded
//	    models--ORG--NAME/                   datasets--ORG--NAME of a dataset
//	        blobs/ETAG                       contents; sha256 of an LFS file, git's sha1 of another
//	        blobs/ETAG.incomplete            the first bytes of a download that was cut
//	        refs/main                        the commit that a branch or tag was last seen at
//	        snapshots/COMMIT/PATH            symbolic link to the blob
//	        trees/COMMIT.json                the listing of a commit: what a whole snapshot would hold
//
// A blob appears under its name whole and verified, or not at all. Everything that a server says is checked before it
// becomes a path, a length or a URL to follow.
package hub
