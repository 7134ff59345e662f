// Package ckpt saves and restores the state of a run: what was trained, the optimizer's moments, and
// where the run stood.
//
// It owns the layout of a run's checkpoint folder, what makes a checkpoint whole, publishing it in one
// step, the LATEST and LOWEST_VAL links, retention, and the checks at load. It does not know which rank
// holds what, when to save, or what a recipe's keys mean: rank hands it whole tensors in host memory and
// decides. Resolve finds a checkpoint, Map and Load read one.
//
// A checkpoint folder looks like this:
//
//	.lock                          held by the run that saves here
//	LATEST -> epoch_0_step_200     the last one published
//	LOWEST_VAL -> epoch_0_step_100 the one with the lowest validation loss
//	epoch_0_step_200/
//	    adapter_config.json, adapter_model.safetensors    LoRA: PEFT loads the folder as it is
//	    model.safetensors                                 or full fine-tuning: all weights, HF names
//	    optimizer.safetensors                             moment1.NAME and moment2.NAME, float32
//	    state.json                                        counters, seed, losses, identities
//	    recipe.toml                                       the effective recipe
//	    manifest.json                                     size and SHA-256 of all the others, written last
//	earlier.1/                     checkpoints that the run does not build on, with their links; see Dir.SetAside
//	.tmp-...                       being written, or left by a killed run: never loaded, removed at Open
package ckpt
