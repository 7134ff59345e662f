package doctor

import "gorun/launcher/kernellog"

// maxXids is how many errors of GPUs are kept.
const maxXids = 5

// xids returns the last errors of GPUs in the kernel's log.
func xids(path string) ([]string, error) {
	log, err := kernellog.Read(path)
	var out []string
	for _, r := range log {
		if r.Xid() {
			out = append(out, r.Text)
		}
	}
	return out[max(0, len(out)-maxXids):], err
}
