package plugins

import "strings"

// IsDemo tells whether a model's name is that of a demo model, such as "demo:smollm2-135m".
func IsDemo(model string) bool { return strings.HasPrefix(model, demoStart) }

// Resolve turns the name of a demo model into the path of its installed file; any other model comes back as it is. A
// demo model that is not installed is an error that wraps ErrMissing and says the command that installs it.
func Resolve(model string) (string, error) {
	if !IsDemo(model) {
		return model, nil
	}
	s, err := defaultStore()
	if err != nil {
		return "", err
	}
	it, err := s.lookup(model)
	if err != nil {
		return "", err
	}
	return s.installed(it)
}
