// Package export writes what training made in the formats that others load, and reads it back: so far
// the adapter folder of Hugging Face PEFT (adapter_config.json and adapter_model.safetensors).
//
// It owns the names, the layout and the validation of those files. It does not know how an adapter was
// trained, which rank holds it, or what its base looks like: callers hand in host memory and the names
// of the base's linears. rank/ckpt calls it for every checkpoint, rank for peft.init_from, and
// cmd/gorun for export and generate.
package export
